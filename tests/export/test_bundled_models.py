"""The models that the project ships: whole, small, and bound to their promise."""

from collections.abc import Callable
from pathlib import Path

import pytest

from finesieve_export.invariance import measure, real_inputs
from finesieve_export.verify import verify
from finesieve_server.runtime.artifact import read_artifact
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder

MODELS = Path(__file__).parents[2] / "models"
BUNDLED = ("all-minilm-l6-v2", "minilm-l6-cross-encoder")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_passes_every_check(name: str) -> None:
    checks = list(verify(MODELS / name, companies=5, threads=2))

    assert [check.name for check in checks if not check.passed] == []
    assert read_artifact(MODELS / name).manifest.files["model.onnx"].bytes < 24_000_000


def test_the_bundled_models_say_what_they_are() -> None:
    bi_encoder, cross_encoder = (read_artifact(MODELS / name).manifest for name in BUNDLED)

    assert (bi_encoder.name, bi_encoder.kind) == ("all-MiniLM-L6-v2", "bi-encoder")
    assert (bi_encoder.dimension, bi_encoder.max_tokens, bi_encoder.normalized) == (384, 256, True)
    assert (cross_encoder.name, cross_encoder.kind) == ("finesieve-minilm-l6", "cross-encoder")
    assert (cross_encoder.max_tokens, cross_encoder.first_stage_weight) == (512, 0.5)
    assert {bi_encoder.precision, cross_encoder.precision} == {"int8"}
    assert all(model.license and model.source for model in (bi_encoder, cross_encoder))


@pytest.mark.parametrize("name", BUNDLED)
def test_scores_have_the_same_bits_alone_and_in_random_companies(
    name: str, repetitions: Callable[[int, int], int]
) -> None:
    artifact = read_artifact(MODELS / name)
    pairs = artifact.manifest.kind == "cross-encoder"
    encoder = (CrossEncoder if pairs else BiEncoder)(artifact, threads=2)
    # Long windows show nothing that short ones do not, at many times the cost.
    inputs = real_inputs(encoder.tokenizer, pairs=pairs, max_tokens=40)

    measured = measure(encoder.run, inputs, companies=repetitions(1000, 10_000))

    assert measured.compared > 5000
    assert measured.moved == 0


@pytest.mark.parametrize("name", BUNDLED)
def test_long_inputs_have_the_same_bits_too(
    name: str, repetitions: Callable[[int, int], int]
) -> None:
    artifact = read_artifact(MODELS / name)
    pairs = artifact.manifest.kind == "cross-encoder"
    encoder = (CrossEncoder if pairs else BiEncoder)(artifact, threads=2)
    inputs = real_inputs(encoder.tokenizer, pairs=pairs, max_tokens=artifact.manifest.max_tokens)

    measured = measure(encoder.run, inputs, companies=repetitions(4, 1000))

    assert measured.moved == 0
