"""Re-check a model folder on the machine that will serve it. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finesieve_export.errors import ExportError
from finesieve_export.invariance import LOAD_ERRORS, measure, real_inputs
from finesieve_server.runtime.artifact import Artifact, Precision, read_artifact
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder

# How far a company may move an output. int8's promise is bits.
_ALLOWED_MOVE: dict[Precision, float] = {"int8": 0.0, "fp32": 1e-4, "fp16": 1e-2}
# Costs grow with the window: longer inputs find nothing that these do not.
_LONGEST = 192


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at, and what was seen."""

    name: str
    passed: bool
    seen: str


def verify(folder: Path, *, companies: int, threads: int) -> Iterator[Check]:
    """Yield every check of a folder. Raises BadArtifact where it cannot be served at all."""
    artifact = read_artifact(folder)
    sizes = sum(each.bytes for each in artifact.manifest.files.values())
    yield Check(
        "digests", True, f"{len(artifact.manifest.files)} files, {sizes / 1e6:.1f} MB, as listed"
    )
    yield from _check_graph(artifact, companies, threads)
    yield _read_parity(artifact)


def _check_graph(artifact: Artifact, companies: int, threads: int) -> Iterator[Check]:
    manifest = artifact.manifest
    pairs = manifest.kind == "cross-encoder"
    try:
        encoder = (CrossEncoder if pairs else BiEncoder)(artifact, threads=threads)
    except LOAD_ERRORS as error:
        raise ExportError(f"onnxruntime cannot load {artifact.model_path}: {error}") from error
    inputs = real_inputs(
        encoder.tokenizer, pairs=pairs, max_tokens=min(_LONGEST, manifest.max_tokens)
    )
    rows = encoder.run(inputs)
    expected = (len(inputs),) if pairs else (len(inputs), manifest.dimension)
    yield Check("output shape", rows.shape == expected, f"{rows.shape}, expected {expected}")
    yield Check("finite output", bool(np.isfinite(rows).all()), f"{rows.size} values")
    if manifest.normalized:
        norms = np.linalg.norm(rows, axis=-1)
        farthest = float(np.abs(norms - 1).max())
        yield Check("unit length", farthest < 1e-3, f"at most {farthest:.1e} off")
    invariance = measure(encoder.run, inputs, companies=companies)
    yield Check(
        "same score in company",
        invariance.largest_move <= _ALLOWED_MOVE[manifest.precision],
        f"{invariance.moved} of {invariance.compared} moved, "
        f"at most {invariance.largest_move:.1e}; allowed {_ALLOWED_MOVE[manifest.precision]:.0e}",
    )


def _read_parity(artifact: Artifact) -> Check:
    parity = artifact.manifest.parity
    if not parity:
        return Check("parity with the source", False, "the manifest has no report")
    return Check(
        "parity with the source",
        True,
        f"score error at most {parity['largest_error']:.2g}, mean {parity['mean_error']:.2g}; "
        f"rank correlation {parity['rank_correlation']:.4f}; "
        f"top-10 overlap {parity['top_10_overlap']:.3f} (as the export measured)",
    )
