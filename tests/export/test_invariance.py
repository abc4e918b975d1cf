"""How far company moves a score: nothing, something, or not to be measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from finesieve_export.convert import convert
from finesieve_export.errors import ExportError
from finesieve_export.invariance import measure, measure_model, real_inputs
from finesieve_server.runtime.artifact import Artifact
from finesieve_server.runtime.tokenizer import Framed, Tokenizer
from tests.export.checkpoints import say_nothing
from tests.export.conftest import MakeRequest


@pytest.fixture(scope="module")
def artifact(cross_encoder_folder: Path, make_request: MakeRequest) -> Artifact:
    return convert(make_request(cross_encoder_folder, "cross-encoder", "fp32"), say_nothing)


def frame(length: int) -> Framed:
    return Framed(np.full(length, 5, np.int32), length)


def count_alone(batch: Sequence[Framed]) -> NDArray[np.float32]:
    return np.array([len(each) for each in batch], np.float32)


def count_company(batch: Sequence[Framed]) -> NDArray[np.float32]:
    return np.array([len(each) + len(batch) / 100 for each in batch], np.float32)


def give_tokens(batch: Sequence[Framed]) -> NDArray[np.float32]:
    longest = max(len(each) for each in batch)
    rows = np.ones((len(batch), longest, 2), np.float32)
    for row, each in zip(rows, batch, strict=True):
        row[len(each) :] = len(batch)  # what stands behind a text's own tokens is nobody's score
    return rows


def give_nothing(batch: Sequence[Framed]) -> NDArray[np.float32]:
    return np.full(len(batch), 1 if len(batch) == 1 else np.nan, np.float32)


def test_scores_of_pairs_alone_do_not_move() -> None:
    measured = measure(count_alone, [frame(3), frame(9)], companies=20)

    assert (measured.moved, measured.largest_move) == (0, 0)
    assert measured.score_deviation == 3


def test_scores_that_depend_on_company_are_seen_to_move() -> None:
    measured = measure(count_company, [frame(3), frame(9)], companies=20)

    assert measured.moved == measured.compared > 20
    assert 0.01 <= measured.mean_move < measured.largest_move < 0.2


def test_outputs_for_padding_are_left_out() -> None:
    assert measure(give_tokens, [frame(3), frame(9)], companies=20).moved == 0


def test_a_score_that_is_lost_in_company_does_not_pass_for_small() -> None:
    measured = measure(give_nothing, [frame(3), frame(9)], companies=20)

    assert measured.moved == measured.compared
    assert not measured.largest_move <= 1e9


def test_ordinary_dynamic_int8_is_seen_to_move(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "dynamic.onnx"
    quantize_dynamic(artifact.model_path, path, weight_type=QuantType.QInt8, per_channel=True)

    measured = measure_model(
        path, artifact.tokenizer_path, pairs=None, max_tokens=96, companies=20, threads=1
    )

    assert measured.moved > 0
    assert measured.largest_move > 1e-3


def test_real_inputs_reach_from_a_few_tokens_to_the_window(artifact: Artifact) -> None:
    tokenizer = Tokenizer(artifact.tokenizer_path)

    pairs = [len(each) for each in real_inputs(tokenizer, pairs=True, max_tokens=96)]
    texts = [len(each) for each in real_inputs(tokenizer, pairs=False, max_tokens=64)]

    assert (max(pairs), max(texts)) == (96, 64)
    assert len(set(texts)) > 10
    assert min(texts) < 8


def test_a_missing_tokenizer_is_asked_for(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--tokenizer"):
        measure_model(
            artifact.model_path,
            tmp_path / "tokenizer.json",
            pairs=None,
            max_tokens=96,
            companies=2,
            threads=1,
        )


def test_a_graph_with_other_inputs_is_refused_by_their_names(
    artifact: Artifact, tmp_path: Path
) -> None:
    model = onnx.load(artifact.model_path)
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("position_ids", onnx.TensorProto.INT64, ["n", "m"])
    )
    path = tmp_path / "model.onnx"
    onnx.save(model, path)

    with pytest.raises(ExportError, match="position_ids"):
        measure_model(
            path, artifact.tokenizer_path, pairs=None, max_tokens=96, companies=2, threads=1
        )
