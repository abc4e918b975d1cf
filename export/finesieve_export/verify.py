"""Re-check a model folder on the machine that will serve it. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finesieve_export.errors import ExportError
from finesieve_export.invariance import RUN_ERRORS, measure, real_inputs
from finesieve_export.parity import from_report, misses
from finesieve_server.runtime.artifact import Artifact, Precision, read_artifact
from finesieve_server.runtime.device import CPU, Device
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from finesieve_server.runtime.loading import check_fits

# How far a company may move an output. int8 promises bits; fp32's and fp16's products may add up
# in another order where the batch has another shape.
_ALLOWED_MOVE: dict[Precision, float] = {"int8": 0.0, "fp32": 1e-4, "fp16": 1e-2}
# Costs grow with the window: companies of longer inputs find nothing that these do not.
_LONGEST = 192


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at, and what was seen."""

    name: str
    passed: bool
    seen: str


def verify(folder: Path, *, companies: int, threads: int, device: Device = CPU) -> Iterator[Check]:
    """Yield every check of a folder. Raises BadArtifact where it cannot be served at all."""
    artifact = read_artifact(folder)
    check_fits(artifact, device)
    sizes = sum(each.bytes for each in artifact.manifest.files.values())
    yield Check(
        "digests", True, f"{len(artifact.manifest.files)} files, {sizes / 1e6:.1f} MB, as listed"
    )
    yield from _check_graph(artifact, companies, threads, device)
    yield _read_parity(artifact)


def _check_graph(
    artifact: Artifact, companies: int, threads: int, device: Device
) -> Iterator[Check]:
    manifest = artifact.manifest
    pairs = manifest.kind == "cross-encoder"
    encoder = (CrossEncoder if pairs else BiEncoder)(artifact, threads=threads, device=device)
    short = real_inputs(
        encoder.tokenizer, pairs=pairs, max_tokens=min(_LONGEST, manifest.max_tokens)
    )
    whole = real_inputs(encoder.tokenizer, pairs=pairs, max_tokens=manifest.max_tokens)[-1]
    try:
        rows = encoder.run(short)
        full = encoder.run([whole])
        invariance = measure(encoder.run, short, companies=companies)
    except RUN_ERRORS as error:
        raise ExportError(
            f"{artifact.model_path} does not run as a {manifest.kind} of up to "
            f"{manifest.max_tokens} tokens: {error.__cause__ or error}"
        ) from error
    expected = (len(short),) if pairs else (len(short), manifest.dimension)
    yield Check("output shape", rows.shape == expected, f"{rows.shape}, expected {expected}")
    yield Check("finite output", bool(np.isfinite(rows).all()), f"{rows.size} values")
    yield Check("full window", bool(np.isfinite(full).all()), f"{len(whole)} tokens")
    if manifest.normalized:
        norms = np.linalg.norm(rows, axis=-1)
        farthest = float(np.abs(norms - 1).max())
        yield Check("unit length", farthest < 1e-3, f"at most {farthest:.1e} off")
    yield Check(
        "same score in company",
        invariance.largest_move <= _ALLOWED_MOVE[manifest.precision],
        f"{invariance.moved} of {invariance.compared} moved, "
        f"at most {invariance.largest_move:.1e}; allowed {_ALLOWED_MOVE[manifest.precision]:.0e}",
    )


def _read_parity(artifact: Artifact) -> Check:
    name = "parity with the source"
    if not artifact.manifest.parity:
        return Check(name, False, "the manifest has no report")
    try:
        measured, tolerance = from_report(artifact.manifest.parity)
    except ValueError as error:
        return Check(name, False, str(error))
    if missed := misses(measured, tolerance):
        return Check(name, False, "; ".join(missed))
    return Check(
        name,
        True,
        f"score error at most {measured.largest_error:.2g}, mean {measured.mean_error:.2g}; "
        f"rank correlation {measured.rank_correlation:.4f}; "
        f"top-10 overlap {measured.top_10_overlap:.3f} (as the export measured)",
    )
