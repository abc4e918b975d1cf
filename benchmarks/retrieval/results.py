"""What a section measured, and how it reads."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.open_loop import percentile
from benchmarks.tables import Figure


@dataclass(frozen=True, slots=True)
class Point:
    """What one ef finds, and how fast."""

    ef_search: int
    recall: float
    queries_per_s: float


@dataclass(frozen=True, slots=True)
class Curve:
    """An engine's points, ef by ef."""

    points: list[Point] = field(default_factory=list)

    def add(self, ef_search: int, recall: float, queries_per_s: float) -> None:
        self.points.append(Point(ef_search, recall, queries_per_s))

    def recall_at(self, ef_search: int) -> float:
        return next(each.recall for each in self.points if each.ef_search == ef_search)


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that the project set itself, and tables around them, in Markdown."""

    title: str
    figures: Sequence[Figure]
    blocks: Sequence[str]


def spread(seconds: Iterable[float], *shares: float) -> tuple[str, ...]:
    """Return percentiles in milliseconds, p50 and p99 unless others are named."""
    seconds = list(seconds)
    return tuple(f"{1e3 * percentile(seconds, share):.2f} ms" for share in shares or (0.5, 0.99))


def tell(what: str) -> None:
    """Say how far the benchmark has come, and when."""
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
