"""What GPUs get: fused operators in float16, the same scores, in any company, on a CPU as well."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from finesieve_export.convert import convert
from finesieve_export.errors import ExportError
from finesieve_export.fuse import fuse, fused_operators, remove_padding
from finesieve_export.half import for_gpu
from finesieve_export.invariance import measure, real_inputs
from finesieve_server.runtime.artifact import Artifact, read_artifact
from finesieve_server.runtime.device import NoDevice
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.loading import load
from tests.export.checkpoints import ANY_LOSS, WINDOW, save_architecture, say_nothing
from tests.export.conftest import MakeRequest


@pytest.fixture(scope="module")
def fp32(cross_encoder_folder: Path, make_request: MakeRequest) -> Artifact:
    return convert(make_request(cross_encoder_folder, "cross-encoder", "fp32"), say_nothing)


@pytest.fixture(scope="module")
def fp16(cross_encoder_folder: Path, make_request: MakeRequest) -> Artifact:
    return convert(make_request(cross_encoder_folder, "cross-encoder", "fp16"), say_nothing)


def test_the_manifest_says_what_was_fused(fp16: Artifact) -> None:
    fused = {
        "EmbedLayerNormalization": 1,
        "Attention": 2,
        "SkipLayerNormalization": 4,
        "BiasGelu": 2,
    }

    assert fp16.manifest.fused == fused
    assert fused_operators(onnx.load(fp16.model_path)) == fused
    assert read_artifact(fp16.folder).manifest.fused == fused
    assert fp16.manifest.parity["device"] == "cpu"


def test_a_model_that_is_too_large_to_be_halved_is_refused_with_its_size() -> None:
    weights = onnx.TensorProto(
        name="weights", data_type=onnx.TensorProto.FLOAT, dims=[250_002, 1024, 3]
    )
    model = onnx.ModelProto(graph=onnx.GraphProto(initializer=[weights]))

    with pytest.raises(ExportError, match=r"3\.07 GB of weights in fp32; at most 2\.15 GB"):
        for_gpu(model, packing=False)


@pytest.mark.parametrize(
    ("architecture", "fused"),
    [
        ("Roberta", {"Attention": 2, "SkipLayerNormalization": 4, "BiasGelu": 2}),
        ("XLMRoberta", {"Attention": 2, "SkipLayerNormalization": 4, "BiasGelu": 2}),
        ("MPNet", {"SkipLayerNormalization": 5, "BiasGelu": 2}),
    ],
)
def test_other_architectures_are_fused_as_far_as_onnxruntime_knows_them(
    architecture: str, fused: Mapping[str, int], make_request: MakeRequest, tmp_path: Path
) -> None:
    save_architecture(tmp_path / architecture, architecture)

    request = make_request(tmp_path / architecture, "cross-encoder", "fp16")
    artifact = convert(replace(request, tolerance=ANY_LOSS), say_nothing)

    assert artifact.manifest.fused == fused


def test_the_server_scores_a_fused_folder_on_the_cpu_within_a_hundredth(
    fp32: Artifact, fp16: Artifact
) -> None:
    [[expected]], [[actual]] = (
        load([folder], threads=1, wanted="auto").models for folder in (fp32.folder, fp16.folder)
    )
    inputs = real_inputs(expected.tokenizer, pairs=True, max_tokens=WINDOW)

    difference = np.abs(actual.run(inputs) - expected.run(inputs))

    assert difference.max() <= 1e-2


def test_company_moves_no_score_by_more_than_a_hundredth(fp16: Artifact) -> None:
    encoder = CrossEncoder(fp16, threads=1)
    inputs = real_inputs(encoder.tokenizer, pairs=True, max_tokens=WINDOW)

    measured = measure(encoder.run, inputs, companies=100)

    assert measured.largest_move <= 1e-2
    assert measured.score_deviation > 0.1


def test_attention_is_masked_by_lengths_and_row_starts(fp16: Artifact) -> None:
    graph = onnx.load(fp16.model_path).graph
    masks = {node.input[3] for node in graph.node if node.op_type == "Attention"}
    [mask] = [node for node in graph.node if node.output[0] in masks]

    lengths, *starts = mask.input
    assert mask.op_type == "Concat"
    assert len(starts) == 2
    assert starts[0] == starts[1] != lengths


def test_a_model_whose_padding_is_removed_packs_every_attention(fp32: Artifact) -> None:
    packed = remove_padding(fuse(onnx.load(fp32.model_path)))

    operators = fused_operators(packed)
    assert operators["PackedAttention"] == 2
    assert operators["RemovePadding"] == operators["RestorePadding"] == 1
    assert "Attention" not in operators


def test_padding_stays_where_no_attention_was_fused(
    make_request: MakeRequest, tmp_path: Path
) -> None:
    save_architecture(tmp_path / "mpnet", "MPNet")
    plain = convert(
        replace(make_request(tmp_path / "mpnet", "cross-encoder", "fp32"), tolerance=ANY_LOSS),
        say_nothing,
    )

    with pytest.raises(ExportError, match="without --packing"):
        remove_padding(fuse(onnx.load(plain.model_path)))


def test_packing_is_refused_where_it_could_not_be_compared(
    cross_encoder_folder: Path, make_request: MakeRequest
) -> None:
    request = replace(make_request(cross_encoder_folder, "cross-encoder", "fp16"), packing=True)

    with pytest.raises(ExportError, match="needs --precision fp16 and --device cuda"):
        convert(request, say_nothing)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_a_card_that_is_not_there_is_named_before_anything_is_traced(
    cross_encoder_folder: Path, make_request: MakeRequest
) -> None:
    request = make_request(cross_encoder_folder, "cross-encoder", "fp16")
    steps: list[str] = []

    with pytest.raises(NoDevice):
        convert(
            replace(request, device="cuda"),
            lambda step, _=0.0: steps.append(step),
        )

    assert steps == []
