"""A model is loaded onto every device that it is made for, and refused on others."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from finesieve_server.runtime.artifact import BadArtifact, read_artifact, write_manifest
from finesieve_server.runtime.device import CPU, Device, NoDevice
from finesieve_server.runtime.loading import check_fits, load
from finesieve_server.runtime.tokenizer import Framed

MODELS = Path(__file__).parents[3] / "models"
CROSS_ENCODER = MODELS / "minilm-l6-cross-encoder"


def test_an_int8_model_is_refused_on_a_card_with_what_to_do() -> None:
    with pytest.raises(BadArtifact, match=r"int8.*--precision fp16.*--device cpu"):
        check_fits(read_artifact(CROSS_ENCODER), Device("cuda"))


def test_a_model_without_padding_is_refused_on_the_cpu_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(CROSS_ENCODER, folder)
    manifest = read_artifact(folder).manifest
    write_manifest(folder, replace(manifest, precision="fp16", fused={"PackedAttention": 6}))

    with pytest.raises(BadArtifact, match=r"CUDA only.*--packing"):
        load([folder], threads=1, wanted="cpu")


def test_int8_models_alone_take_the_cpu_and_look_for_no_card() -> None:
    loaded = load([CROSS_ENCODER], threads=1, wanted="auto", cards=[99])

    assert loaded.devices == [CPU]
    assert [each.execution_provider for each in loaded.models[0]] == ["CPUExecutionProvider"]


def test_no_model_wants_no_card() -> None:
    loaded = load([], threads=1, wanted="auto")

    assert (loaded.devices, loaded.models) == ([CPU], [[]])


def test_cuda_that_is_not_there_is_an_error_and_not_the_cpu() -> None:
    with pytest.raises(NoDevice):
        load([CROSS_ENCODER], threads=1, wanted="cuda", cards=[99])


def test_a_model_on_another_device_shares_its_tokenizer_and_scores_alike() -> None:
    [[first]] = load([CROSS_ENCODER], threads=1).models

    second = first.on(CPU)

    pair: Framed = first.example(20)
    assert second.tokenizer is first.tokenizer
    assert second._session is not first._session
    assert second.run([pair]).tobytes() == first.run([pair]).tobytes()
