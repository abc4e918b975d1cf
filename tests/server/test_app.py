"""What the composition root makes of its settings, and what refuses to start."""

from pathlib import Path

import onnxruntime as ort
import pytest

from finesieve_server.app import serve
from finesieve_server.config import BadSettings, read_settings
from finesieve_server.model_setup import (
    CannotStart,
    batch_devices,
    batch_limits,
    load_models,
    model_folders,
)
from finesieve_server.runtime.device import CPU, Device, NoDevice

MODELS = Path(__file__).parents[2] / "models"
BUNDLED = [MODELS / "all-minilm-l6-v2", MODELS / "minilm-l6-cross-encoder"]


def test_the_bundled_models_stand_beside_others_in_the_order_named() -> None:
    assert list(model_folders("bundled")) == BUNDLED
    assert list(model_folders("mine, bundled")) == [Path("mine"), *BUNDLED]
    assert list(model_folders("none")) == []


def test_two_models_of_one_name_refuse_to_start() -> None:
    with pytest.raises(CannotStart, match="must be unique"):
        load_models(read_settings(["--models", f"bundled,{BUNDLED[0]}"]))


@pytest.mark.parametrize("options", [["--device", "cuda"], ["--device", "cuda", "--gpus", "98,99"]])
def test_cuda_that_cannot_be_had_refuses_to_start(options: list[str]) -> None:
    if options[-1] == "cuda" and "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")

    with pytest.raises(NoDevice):
        load_models(read_settings(options))


def test_a_batch_is_as_large_as_its_device_likes_unless_it_is_set() -> None:
    card, plain = Device("cuda"), read_settings([])

    assert batch_limits(plain, CPU).max_tokens == 512
    assert batch_limits(plain, card).max_tokens == 16_384
    assert batch_limits(read_settings(["--max-batch-tokens", "64"]), card).max_tokens == 64


def test_every_core_runs_batches_through_one_session() -> None:
    settings = read_settings(["--threads", "3"])

    devices = batch_devices(settings, load_models(settings))

    assert len(devices) == 3
    assert all(each == devices[0] for each in devices)


def test_threads_that_share_a_batch_have_a_session_of_their_own() -> None:
    settings = read_settings(["--threads", "4", "--batch-threads", "2"])

    first, second = batch_devices(settings, load_models(settings))

    assert list(first) == list(second)
    assert all(first[name] is not second[name] for name in first)


def test_a_batch_of_more_threads_than_there_are_refuses_to_start() -> None:
    settings = read_settings(["--threads", "2", "--batch-threads", "3"])

    with pytest.raises(CannotStart, match="batch_threads: is 3; there are 2"):
        batch_devices(settings, load_models(settings))


def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "finesieve.toml"
    file.write_text("port = 1\nmax_calls = 2\nmax_texts = 3\n")
    monkeypatch.setenv("FINESIEVE_PORT", "4")
    monkeypatch.setenv("FINESIEVE_MAX_CALLS", "5")

    settings = read_settings(["--config", str(file), "--port", "6"])

    assert (settings.port, settings.max_calls, settings.max_texts) == (6, 5, 3)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--port", "x"], r"port: is 'x'"),
        (["--port", "65536"], r"port: is '65536'.*65535"),
        (["--max-batch-tokens", "1"], r"max_batch_tokens.*16"),
        (["--gpus", "0,x"], r"gpus: is '0,x'"),
        (["--config", "/nowhere.toml"], r"config: /nowhere.toml cannot be read"),
        *(
            (["--rerank-target", target], "^rerank_target: is '.*'; allowed: dns:///NAME:PORT, ")
            for target in (
                "garbage:::",
                "",
                "dns:///",
                "dns:///name",
                "ipv4:name:1",
                "http://r:1",
                "r:65536",
            )
        ),
    ],
)
def test_a_bad_value_is_named_with_what_it_was_and_may_be(
    arguments: list[str], problem: str
) -> None:
    with pytest.raises(BadSettings, match=problem):
        read_settings(arguments)


@pytest.mark.parametrize(
    "target",
    [
        "dns:///rerank.default.svc:50052",
        "dns://10.0.0.1:53/rerank:50052",
        "dns:rerank:50052",
        "rerank:50052",
        "[::1]:50052",
        "ipv4:10.0.0.1:50052,10.0.0.2:50052",
        "ipv6:[::1]:50052,[::2]:50052",
        "unix:/run/rerank.sock",
    ],
)
def test_every_form_of_target_that_grpc_resolves_is_taken(target: str) -> None:
    assert read_settings(["--rerank-target", target]).rerank_target == target


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "finesieve.toml"
    file.write_text("prot = 1\n")

    with pytest.raises(BadSettings, match="prot"):
        read_settings(["--config", str(file)])


def test_a_misspelt_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINESIEVE_PROT", "1")

    with pytest.raises(BadSettings, match="FINESIEVE_PROT: no such setting"):
        read_settings([])


def test_variables_that_kubernetes_sets_for_a_service_are_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINESIEVE_SERVICE_HOST", "10.0.0.1")
    assert read_settings([]).port == 50051

    monkeypatch.setenv("FINESIEVE_PORT", "tcp://10.0.0.1:50051")
    with pytest.raises(BadSettings, match="enableServiceLinks"):
        read_settings([])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--rerank-target", "dns:///r:1"], "role all scores itself"),
        (["--role", "rerank", "--rerank-target", "dns:///r:1"], "role rerank scores itself"),
        (["--role", "retrieval", "--rerank-tls-ca", "ca.pem"], "needs rerank_target"),
        (["--milvus-uri", "http://milvus:19530"], "milvus_uri: needs --index milvus"),
        (["--milvus-consistency", "Session"], "milvus_consistency: needs --index milvus"),
        (["--role", "rerank", "--index", "milvus"], "index: role rerank has no passages"),
    ],
)
async def test_settings_of_another_role_refuse_to_start(arguments: list[str], problem: str) -> None:
    with pytest.raises(CannotStart, match=problem):
        await serve(read_settings(arguments))


def test_a_role_loads_the_models_that_it_needs() -> None:
    def loaded(role: str) -> list[str]:
        return [each.name for each in load_models(read_settings(["--role", role])).models[0]]

    assert loaded("all") == ["all-MiniLM-L6-v2", "finesieve-minilm-l6"]
    assert loaded("retrieval") == ["all-MiniLM-L6-v2"]
    assert loaded("rerank") == ["finesieve-minilm-l6"]


def test_a_replica_without_a_cross_encoder_refuses_to_start() -> None:
    with pytest.raises(CannotStart, match="none is a cross-encoder"):
        load_models(read_settings(["--role", "rerank", "--models", f"{BUNDLED[0]}"]))
