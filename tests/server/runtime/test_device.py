"""CUDA is taken where it can be had; where it was asked for and cannot, the reason is told."""

import numpy as np
import onnxruntime as ort
import pytest

from finesieve_server.runtime import device as module
from finesieve_server.runtime.device import CPU, Device, NoDevice, find_devices

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_cuda_without_its_onnxruntime_says_what_to_install() -> None:
    with pytest.raises(NoDevice, match=r"built without CUDA.*finesieve\[server-gpu\]"):
        find_devices("cuda")


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_auto_takes_the_cpu_where_there_is_no_cuda() -> None:
    assert find_devices("auto") == [CPU]


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_naming_cards_is_asking_for_cuda() -> None:
    with pytest.raises(NoDevice, match="built without CUDA"):
        find_devices("auto", [0])


def test_the_cpu_is_taken_where_it_is_asked_for() -> None:
    assert find_devices("cpu", [7]) == [CPU]


def test_the_graph_that_tries_a_card_is_one_that_onnxruntime_runs() -> None:
    session = ort.InferenceSession(module._SMALLEST_GRAPH, providers=["CPUExecutionProvider"])

    assert session.run(None, {"x": np.array([3], np.float32)})[0] == 3


def test_a_card_has_its_number_its_limit_and_an_arena_that_grows_by_need() -> None:
    [(provider, options), last] = Device("cuda", 2, arena_bytes=2**30).providers()

    assert provider == "CUDAExecutionProvider"
    assert options == {
        "device_id": "2",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": str(2**30),
    }
    assert last == ("CPUExecutionProvider", {})
    assert Device("cuda", 2).allocator == "gpu:2"
