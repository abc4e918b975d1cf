"""Load model folders onto the devices that there are, one set of models a device."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from finesieve_server.runtime.artifact import KINDS, Artifact, BadArtifact, Kind, read_artifact
from finesieve_server.runtime.device import CPU, Device, Wanted, find_devices
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder


@dataclass(frozen=True, slots=True)
class Loaded:
    """The devices and, for each of them, every model on it."""

    devices: Sequence[Device]
    models: Sequence[Sequence[BiEncoder | CrossEncoder]]


def load(
    folders: Sequence[Path],
    *,
    threads: int,
    wanted: Wanted = "cpu",
    cards: Sequence[int] = (),
    card_bytes: int = 0,
    kinds: Collection[Kind] = KINDS,
) -> Loaded:
    """Verify every folder, and load those of the kinds that are wanted.

    `card_bytes` of a card are shared evenly, 0 is no limit.

    Raises BadArtifact, or NoDevice where CUDA is wanted and cannot be had.
    """
    artifacts = [each for each in map(read_artifact, folders) if each.manifest.kind in kinds]
    if wanted == "auto" and not _all_fit_a_card(artifacts):
        wanted = "cpu"
    devices = find_devices(wanted, cards, arena_bytes=card_bytes // max(1, len(artifacts)))
    models = []
    for artifact in artifacts:
        for device in devices:
            check_fits(artifact, device)
        kind = BiEncoder if artifact.manifest.kind == "bi-encoder" else CrossEncoder
        first = kind(artifact, threads=threads, device=devices[0])
        models.append([first, *(first.on(device) for device in devices[1:])])
    return Loaded(devices, [[each[at] for each in models] for at in range(len(devices))])


def _all_fit_a_card(artifacts: Sequence[Artifact]) -> bool:
    return bool(artifacts) and all(each.manifest.precision != "int8" for each in artifacts)


def check_fits(artifact: Artifact, device: Device = CPU) -> None:
    """Raise BadArtifact where the model is made for another kind of device."""
    if device.is_cuda and artifact.manifest.precision == "int8":
        raise BadArtifact(
            artifact.folder,
            "is int8, which a GPU runs many times slower than fp32; convert the model with "
            "`finesieve-export convert --precision fp16`, or start with --device cpu",
        )
    if not device.is_cuda and "PackedAttention" in artifact.manifest.fused:
        raise BadArtifact(
            artifact.folder,
            "has its padding removed, which onnxruntime can do on CUDA only; start with --device "
            "cuda on a machine with a card, or convert the model without --packing",
        )
