"""Say what models run on: the CPU, or CUDA cards. Loads no model.

onnxruntime falls back to the CPU where CUDA cannot be had, with a line on standard error. Here that
is an error of its own, with what to do about it.
"""

import contextlib
import ctypes
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnxruntime as ort
import structlog
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"

_log = structlog.get_logger()

Wanted = Literal["auto", "cpu", "cuda"]

# The smallest graph there is, x -> Identity -> y on one float: an ONNX message, spelt out.
_SMALLEST_GRAPH = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08"
    "080112040a020801620f0a0179120a0a08080112040a02080142040a00100d"
)


class NoDevice(Exception):
    """CUDA was asked for and cannot be had: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Device:
    """The CPU, or one CUDA card."""

    kind: Literal["cpu", "cuda"] = "cpu"
    index: int = 0
    # What one model's working memory may take on a card; 0: what there is.
    arena_bytes: int = 0

    @property
    def is_cuda(self) -> bool:
        return self.kind == "cuda"

    @property
    def allocator(self) -> str:
        """Return what onnxruntime's run options call this device's memory."""
        return f"{'gpu' if self.is_cuda else 'cpu'}:{self.index}"

    def providers(self) -> list[tuple[str, Mapping[str, str]]]:
        """Return onnxruntime's execution providers, best first, with their options."""
        if not self.is_cuda:
            return [(CPU_PROVIDER, {})]
        options = {
            "device_id": str(self.index),
            # Grow by what is asked for: the default doubles, and gives nothing back.
            "arena_extend_strategy": "kSameAsRequested",
        }
        if self.arena_bytes:
            options["gpu_mem_limit"] = str(self.arena_bytes)
        # What little has no CUDA operator, such as a shape, runs on the CPU.
        return [(CUDA_PROVIDER, options), (CPU_PROVIDER, {})]


CPU = Device()


def find_devices(
    wanted: Wanted, cards: Sequence[int] = (), *, arena_bytes: int = 0
) -> list[Device]:
    """Return the CPU, or one device a card: those named, or all.

    "auto" takes CUDA where it can be had. Raises NoDevice where "cuda" cannot.
    """
    if wanted == "cpu":
        return [CPU]
    try:
        found = _find_cards()
        missing = sorted(set(cards) - set(found))
        if missing:
            raise NoDevice(f"there is no card {missing}; the driver counts {found}")
        devices = [Device("cuda", card, arena_bytes) for card in cards or found]
        for device in devices:
            _check_loads(device)
    except NoDevice as problem:
        if wanted == "cuda" or cards:
            raise
        if CUDA_PROVIDER in ort.get_available_providers():
            _log.warning("no CUDA; the CPU serves", reason=str(problem))
        return [CPU]
    return devices


def _find_cards() -> list[int]:
    """Return the cards' numbers, as CUDA_VISIBLE_DEVICES leaves them."""
    if CUDA_PROVIDER not in ort.get_available_providers():
        raise NoDevice(
            "this onnxruntime is built without CUDA; "
            "run `pip uninstall onnxruntime`, then `pip install 'finesieve[server-gpu]'`"
        )
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise NoDevice(
            f"there is no NVIDIA driver ({error}); install one for CUDA 13 (580 or newer), and "
            "start a container with the cards, as by `docker run --gpus all`"
        ) from None
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        raise NoDevice(
            f"the NVIDIA driver shows no card (CUDA error {status}); "
            "see `nvidia-smi` and CUDA_VISIBLE_DEVICES"
        )
    return list(range(count.value))


def _check_loads(device: Device) -> None:
    """Open a session of one operator on the card: whether CUDA's libraries load shows only then."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints what it cannot find
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(
            _SMALLEST_GRAPH, providers=device.providers(), enable_fallback=0
        )
        loaded = session.get_providers()[0] == CUDA_PROVIDER
        reason = said.getvalue().strip() or "onnxruntime's reason stands above"
    except (RuntimeError, ort_errors.Fail, ort_errors.EPFail) as error:
        loaded, reason = False, str(error)
    if not loaded:
        raise NoDevice(
            f"onnxruntime cannot load CUDA on card {device.index}: {reason}; "
            "`pip install 'onnxruntime-gpu[cuda,cudnn]'` brings its libraries, and CUDA 13 wants "
            "a driver of 580 or newer"
        )
