"""Compare an exported model with its source on real text; say how far it strays.

The exported side runs as the server runs it: its tokenizer, its session, its padding.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from finesieve_export.errors import ToleranceMissed
from finesieve_export.progress import Tell
from finesieve_export.real_text import Question, read_questions
from finesieve_server.runtime.artifact import Artifact, Precision
from finesieve_server.runtime.device import CPU, Device
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from finesieve_server.runtime.tokenizer import Framed

_NUM_PASSAGES = 640
_NUM_QUERIES = 16
_CANDIDATES = 40  # of each query, for a cross-encoder; a bi-encoder ranks all passages
_TOP = 10
_BATCH = 16
_NUMBER = (int, float)

Scores = NDArray[np.float32]
Item = TypeVar("Item", Framed, str, tuple[str, str])


class Source(Protocol):
    """The model before the export."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported model's scores and rankings are from the source's.

    Scores are logits of a cross-encoder, inner products of a bi-encoder's embeddings.
    """

    text: str
    queries: int
    candidates: int
    largest_error: float
    mean_error: float
    score_deviation: float  # standard deviation of the source's scores, to read the errors by
    rank_correlation: float  # Spearman's, over a query's candidates, mean over queries
    top_10_overlap: float


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The worst that an export may be. Errors in standard deviations of the source's scores."""

    largest_error: float
    rank_correlation: float
    top_10_overlap: float


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(largest_error=1e-4, rank_correlation=0.9999, top_10_overlap=0.99),
    "fp16": Tolerance(largest_error=0.05, rank_correlation=0.999, top_10_overlap=0.97),
    "int8": Tolerance(largest_error=0.6, rank_correlation=0.98, top_10_overlap=0.9),
}


def measure(
    source: Source, artifact: Artifact, tell: Tell, *, threads: int, device: Device = CPU
) -> Parity:
    """Score the same real text with both; the exported model runs on `device`."""
    questions = read_questions(_NUM_PASSAGES)
    asked = range(0, len(questions), max(1, len(questions) // _NUM_QUERIES))[:_NUM_QUERIES]
    if artifact.manifest.kind == "bi-encoder":
        bi_encoder = BiEncoder(artifact, threads=threads, device=device)
        return compare(*_similarities(source, bi_encoder, questions, asked, tell))
    cross_encoder = CrossEncoder(artifact, threads=threads, device=device)
    return compare(*_logits(source, cross_encoder, questions, asked, tell))


def compare(expected: Scores, actual: Scores) -> Parity:
    """Compare two matrices of scores, (queries, candidates)."""
    error = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    top = min(_TOP, expected.shape[1])
    overlap = [
        len(set(best) & set(found)) / top
        for best, found in zip(_order(expected)[:, :top], _order(actual)[:, :top], strict=True)
    ]
    correlation = [
        np.corrcoef(first, second)[0, 1]
        for first, second in zip(_ranks(expected), _ranks(actual), strict=True)
    ]
    return Parity(
        text=f"docstrings of Python {platform.python_version()}'s standard library",
        queries=expected.shape[0],
        candidates=expected.shape[1],
        largest_error=float(error.max()),
        mean_error=float(error.mean()),
        score_deviation=float(expected.std()),
        rank_correlation=float(np.mean(correlation)),
        top_10_overlap=float(np.mean(overlap)),
    )


def misses(parity: Parity, tolerance: Tolerance) -> list[str]:
    """Return every figure that is worse than allowed, beside what is allowed."""
    largest = parity.largest_error / max(parity.score_deviation, 1e-12)
    # Written so that NaN is a miss.
    kept = {
        f"largest error {largest:.2g} standard deviations of the scores, "
        f"allowed {tolerance.largest_error:.2g}": largest <= tolerance.largest_error,
        f"rank correlation {parity.rank_correlation:.5f}, "
        f"required {tolerance.rank_correlation}": parity.rank_correlation
        >= tolerance.rank_correlation,
        f"top-10 overlap {parity.top_10_overlap:.3f}, "
        f"required {tolerance.top_10_overlap}": parity.top_10_overlap >= tolerance.top_10_overlap,
    }
    return [figure for figure, is_kept in kept.items() if not is_kept]


def check(parity: Parity, tolerance: Tolerance) -> None:
    """Raise ToleranceMissed with every figure that is worse than allowed."""
    if missed := misses(parity, tolerance):
        raise ToleranceMissed(
            "the export strays too far from its source: " + "; ".join(missed) + ".\n"
            "Try a higher --precision, or accept the loss with --max-error, "
            "--min-rank-correlation or --min-overlap."
        )


def as_report(parity: Parity, tolerance: Tolerance, device: Device = CPU) -> dict[str, object]:
    """Return both as the manifest keeps them, and what they were measured on."""
    return {**asdict(parity), "tolerance": asdict(tolerance), "device": device.kind}


def from_report(report: Mapping[str, Any]) -> tuple[Parity, Tolerance]:
    """Return what `as_report` was given. Raises ValueError where a figure is missing."""
    tolerance = report.get("tolerance")
    if not isinstance(tolerance, Mapping):
        raise ValueError("the report has no tolerance")
    return _record(Parity, report), _record(Tolerance, tolerance)


Record = TypeVar("Record", Parity, Tolerance)


def _record(kind: type[Record], values: Mapping[str, Any]) -> Record:
    for each in fields(kind):
        value = values.get(each.name)
        if isinstance(value, bool) or not isinstance(value, str if each.type is str else _NUMBER):
            raise ValueError(f"the report's {each.name} is {value!r}")
    return kind(**{each.name: values[each.name] for each in fields(kind)})


def _similarities(
    source: Source,
    encoder: BiEncoder,
    questions: Sequence[Question],
    asked: Sequence[int],
    tell: Tell,
) -> tuple[Scores, Scores]:
    manifest = encoder.manifest
    texts = [manifest.query_prefix + questions[index].query for index in asked]
    texts += [manifest.passage_prefix + each.passage for each in questions]
    framed = [encoder.frame(ids) for ids in encoder.tokenizer.encode(texts)]
    expected = _in_batches(source.embed, texts, tell, "embedding with the source model")
    actual = _in_batches(encoder.run, framed, tell, "embedding with the exported model")
    return (
        expected[: len(asked)] @ expected[len(asked) :].T,
        actual[: len(asked)] @ actual[len(asked) :].T,
    )


def _logits(
    source: Source,
    encoder: CrossEncoder,
    questions: Sequence[Question],
    asked: Sequence[int],
    tell: Tell,
) -> tuple[Scores, Scores]:
    # Neighbours come from the same module, so that candidates are hard to tell apart.
    before, after = encoder.query_template.around()
    prefix = encoder.manifest.passage_prefix
    pairs = [
        (
            before + questions[index].query + after,
            prefix + questions[(index + offset) % len(questions)].passage,
        )
        for index in asked
        for offset in range(_CANDIDATES)
    ]
    queries = encoder.tokenizer.encode([query for query, _ in pairs])
    passages = encoder.tokenizer.encode([passage for _, passage in pairs])
    framed = [
        encoder.frame(query, passage[: max(0, encoder.room - len(query))])
        for query, passage in zip(queries, passages, strict=True)
    ]
    shape = (len(asked), _CANDIDATES)
    expected = _in_batches(source.score, pairs, tell, "scoring with the source model")
    actual = _in_batches(encoder.run, framed, tell, "scoring with the exported model")
    return expected.reshape(shape), actual.reshape(shape)


def _in_batches(
    run: Callable[[list[Item]], Scores], items: Sequence[Item], tell: Tell, step: str
) -> Scores:
    """Run items of similar lengths together; return their rows in the given order."""
    order = sorted(range(len(items)), key=lambda index: _length(items[index]))
    rows = []
    for start in range(0, len(order), _BATCH):
        tell(step, start / len(order))
        rows.append(run([items[index] for index in order[start : start + _BATCH]]))
    return np.concatenate(rows)[np.argsort(order)]


def _length(item: Framed | str | tuple[str, str]) -> int:
    return sum(map(len, item)) if isinstance(item, tuple) else len(item)


def _order(scores: Scores) -> NDArray[np.intp]:
    return np.argsort(-scores, axis=1, kind="stable")


def _ranks(scores: Scores) -> NDArray[np.intp]:
    return np.argsort(_order(scores), axis=1)
