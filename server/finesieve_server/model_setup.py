"""Bring models onto the devices, as the settings say: which, where, and by how many threads."""

import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import structlog

from finesieve_server.batching.plan import BatchLimits
from finesieve_server.config import Settings
from finesieve_server.runtime.artifact import KINDS, Kind
from finesieve_server.runtime.device import CPU, Device
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from finesieve_server.runtime.loading import Loaded, load

_KINDS: Mapping[str, Sequence[Kind]] = {
    "all": KINDS,
    "retrieval": ("bi-encoder",),
    "rerank": ("cross-encoder",),
}

_log = structlog.get_logger()


class CannotStart(Exception):
    """Why, and what to do about it."""


def load_models(settings: Settings) -> Loaded:
    """Verify every model folder and load those of the role's kinds.

    Raises BadArtifact, NoDevice or CannotStart.
    """
    _check_onnxruntime()
    loaded = load(
        model_folders(settings.models),
        threads=settings.batch_threads,
        wanted=settings.device,
        cards=[] if settings.gpus == "all" else list(map(int, settings.gpus.split(","))),
        card_bytes=settings.gpu_memory_mib * 2**20,
        kinds=_KINDS[settings.role],
    )
    names = [encoder.name for encoder in loaded.models[0]]
    if settings.role == "rerank" and not names:
        raise CannotStart("models: none is a cross-encoder, which role rerank needs")
    for encoder in loaded.models[0]:
        if names.count(encoder.name) > 1:
            raise CannotStart(f"models: two are named {encoder.name!r}; a name must be unique")
        _log.info("model loaded", model=encoder.name, precision=encoder.manifest.precision)
    return loaded


def model_folders(setting: str) -> Sequence[Path]:
    """Return the folders that --models means, "bundled" among them. Raises CannotStart."""
    parts = [part.strip() for part in setting.split(",") if part.strip()]
    if parts == ["none"]:
        return []
    folders: list[Path] = []
    for part in parts:
        folders += _bundled_folders() if part == "bundled" else [Path(part)]
    return folders


def _bundled_folders() -> list[Path]:
    package = Path(__file__).parent
    for home in (package / "models", package.parents[1] / "models"):
        folders = sorted(each.parent for each in home.glob("*/manifest.json"))
        if folders:
            return folders
    raise CannotStart(
        "models: no bundled models beside this package; name folders with --models, "
        "or use --models none"
    )


def _check_onnxruntime() -> None:
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        raise CannotStart(
            "onnxruntime and onnxruntime-gpu are both installed and hide each other; "
            "run `pip uninstall onnxruntime onnxruntime-gpu`, then install the one you need"
        )


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def batch_devices(settings: Settings, loaded: Loaded) -> list[dict[str, BiEncoder | CrossEncoder]]:
    """Return every model by name for each that runs a batch: each card, or each of the CPU's cores.

    Side by side on a thread each, batches gave a quarter more than one after the other on two
    (docs/decisions/0008). Cores share a session, and so its weights; but a session has one pool.
    """
    devices = [{encoder.name: encoder for encoder in each} for each in loaded.models]
    if loaded.devices[0].is_cuda:
        return devices
    available = count_threads(settings)
    if settings.batch_threads > available:
        raise CannotStart(
            f"batch_threads: is {settings.batch_threads}; there are {available} threads"
        )
    [models] = devices
    if settings.batch_threads == 1:
        return [models] * available
    others = range(available // settings.batch_threads - 1)
    return [models, *({name: each.on(CPU) for name, each in models.items()} for _ in others)]


def batch_limits(settings: Settings, device: Device) -> BatchLimits:
    # A card needs some ten thousand tokens to be busy; a CPU's batches are cheaper short.
    tokens = settings.max_batch_tokens or (16_384 if device.is_cuda else 512)
    return BatchLimits(tokens, settings.max_batch_ms / 1e3, settings.max_queue_tokens)


def count_threads(settings: Settings) -> int:
    return settings.threads or _cores()


def _cores() -> int:
    """Return how many cores this process may use, by its affinity and its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))
