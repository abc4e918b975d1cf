"""From a checkpoint to a folder that the server reads, close to its source, or nothing at all."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from finesieve_export.checkpoint import Overrides
from finesieve_export.convert import Request, convert, put_in_place
from finesieve_export.errors import BadCheckpoint, ExportError, ToleranceMissed
from finesieve_export.heads import Pooling
from finesieve_export.parity import TOLERANCES
from finesieve_server.runtime.artifact import Artifact
from finesieve_server.runtime.encoder import BiEncoder
from tests.export.checkpoints import ANY_LOSS, say_nothing
from tests.export.conftest import MakeRequest


def run(request: Request, **changes: Any) -> Artifact:
    return convert(replace(request, **changes), say_nothing)


def test_a_float32_bi_encoder_agrees_with_its_source(
    bi_encoder_folder: Path, make_request: MakeRequest
) -> None:
    artifact = run(make_request(bi_encoder_folder, "bi-encoder", "fp32"))

    manifest = artifact.manifest
    assert manifest.parity["largest_error"] <= 1e-4
    assert manifest.parity["top_10_overlap"] > 0.99
    assert (manifest.kind, manifest.dimension, manifest.max_tokens) == ("bi-encoder", 48, 64)
    assert (manifest.pooling, manifest.normalized) == ("mean", True)
    assert (manifest.query_prefix, manifest.passage_prefix) == ("ask: ", "text: ")
    assert manifest.source_revision.startswith("sha256:")


def test_a_float32_cross_encoder_agrees_with_its_source(
    cross_encoder_folder: Path, make_request: MakeRequest
) -> None:
    artifact = run(
        make_request(cross_encoder_folder, "cross-encoder", "fp32"), first_stage_weight=0.25
    )

    assert artifact.manifest.parity["largest_error"] <= 1e-4
    assert artifact.manifest.first_stage_weight == 0.25
    assert artifact.manifest.activation == "sigmoid"


def test_float16_halves_the_weights_and_keeps_float32_outside(
    bi_encoder_folder: Path, make_request: MakeRequest
) -> None:
    artifact = run(make_request(bi_encoder_folder, "bi-encoder", "fp16"))

    model = onnx.load(artifact.model_path)
    types = {
        each.data_type
        for each in model.graph.initializer
        if len(each.dims) == 2 and each.dims[0] > 1
    }
    assert types == {onnx.TensorProto.FLOAT16}
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert artifact.manifest.parity["largest_error"] < 0.005


@pytest.mark.parametrize("pooling", ["cls", "last"])
def test_other_poolings_agree_with_their_source(
    bi_encoder_folder: Path, make_request: MakeRequest, tmp_path: Path, pooling: Pooling
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(bi_encoder_folder, plain)
    (plain / "modules.json").unlink()

    artifact = run(
        make_request(plain, "bi-encoder", "fp32"),
        overrides=Overrides(pooling=pooling, normalized=False),
    )

    [embedding] = BiEncoder(artifact, threads=1).run([BiEncoder(artifact, threads=1).example(9)])
    assert artifact.manifest.pooling == pooling
    assert artifact.manifest.parity["largest_error"] <= 1e-3  # of inner products around 50
    assert abs(float(np.linalg.norm(embedding)) - 1) > 0.1


def test_a_fingerprint_is_the_same_across_precisions_and_differs_by_prefix(
    bi_encoder_folder: Path, make_request: MakeRequest
) -> None:
    float32 = run(make_request(bi_encoder_folder, "bi-encoder", "fp32"))
    int8 = run(make_request(bi_encoder_folder, "bi-encoder", "int8"), tolerance=ANY_LOSS)
    prefixed = run(
        make_request(bi_encoder_folder, "bi-encoder", "fp32"),
        overrides=Overrides(query_prefix="q: "),
    )

    assert float32.manifest.fingerprint == int8.manifest.fingerprint
    assert float32.manifest.fingerprint != prefixed.manifest.fingerprint


def test_a_missed_tolerance_is_refused_and_leaves_nothing(
    cross_encoder_folder: Path, make_request: MakeRequest, tmp_path: Path
) -> None:
    strict = replace(TOLERANCES["int8"], largest_error=1e-6)
    out = tmp_path / "models" / "strict"

    with pytest.raises(ToleranceMissed, match=r"largest error .* allowed 1e-06.*\n.*--max-error"):
        run(make_request(cross_encoder_folder, "cross-encoder", "int8"), out=out, tolerance=strict)

    assert list(out.parent.iterdir()) == []


def test_a_folder_that_is_there_is_kept_unless_forced(
    cross_encoder_folder: Path, make_request: MakeRequest, tmp_path: Path
) -> None:
    request = make_request(cross_encoder_folder, "cross-encoder", "fp32")
    request = replace(request, out=tmp_path / "model")
    first = run(request)

    with pytest.raises(ExportError, match="there already"):
        run(request)
    second = run(replace(request, force=True, name="renamed"))

    assert first.manifest.name == cross_encoder_folder.name
    assert second.manifest.name == "renamed"
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_force_does_not_replace_what_is_no_model_folder(
    cross_encoder_folder: Path, make_request: MakeRequest, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(ExportError, match="is no model folder"):
        run(make_request(cross_encoder_folder, "cross-encoder", "fp32"), out=tmp_path, force=True)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_bi_encoder_given_as_a_cross_encoder_is_refused(
    bi_encoder_folder: Path, make_request: MakeRequest
) -> None:
    with pytest.raises(BadCheckpoint, match=r"no weights for classifier"):
        run(make_request(bi_encoder_folder, "cross-encoder", "fp32"))


def remove_the_tokenizer(folder: Path) -> None:
    for path in (*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("special*")):
        path.unlink()


def cut_the_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (remove_the_tokenizer, "its tokenizer cannot be read"),
        (cut_the_weights, "its weights cannot be read"),
    ],
)
def test_a_broken_checkpoint_is_refused_with_the_part_that_is_broken(
    cross_encoder_folder: Path,
    make_request: MakeRequest,
    tmp_path: Path,
    edit: Callable[[Path], None],
    reason: str,
) -> None:
    broken = Path(shutil.copytree(cross_encoder_folder, tmp_path / "broken"))
    edit(broken)

    with pytest.raises(BadCheckpoint, match=reason):
        run(make_request(broken, "cross-encoder", "fp32"))


def test_a_folder_that_cannot_be_written_is_named(
    cross_encoder_folder: Path, make_request: MakeRequest, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "model"

    with pytest.raises(ExportError, match=r"cannot write .*file/model"):
        run(make_request(cross_encoder_folder, "cross-encoder", "fp32"), out=out)


def test_a_replacement_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    out, beside = tmp_path / "model", tmp_path / "beside"
    out.mkdir()
    beside.mkdir()
    (out / "manifest.json").write_text("old")

    with pytest.raises(OSError, match="No such file"):
        put_in_place(beside / "absent", out)

    assert (out / "manifest.json").read_text() == "old"
