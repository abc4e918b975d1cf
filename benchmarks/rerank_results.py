"""What one run of the rerank benchmark measured, and the ratios drawn from it. Knows no engine."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.bare import BareRound
from benchmarks.load import Load


@dataclass(frozen=True, slots=True)
class OpenPoint:
    """One offered rate and what became of it."""

    pairs_per_s: float
    load: Load


@dataclass(slots=True)
class Results:
    """Everything by the engine's name; rounds are in the same order for all."""

    bare: list[BareRound] = field(default_factory=list)
    closed: dict[str, list[Load]] = field(default_factory=dict)
    opened: dict[str, list[OpenPoint]] = field(default_factory=dict)
    bare_alone_s: list[float] = field(default_factory=list)
    alone_s: dict[str, list[float]] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)  # Spearman's, of scores
    peak_mib: dict[str, float] = field(default_factory=dict)
    padding_share: float = 0.0
    missing: dict[str, str] = field(default_factory=dict)  # and why
    bare_tried_s: Mapping[tuple[int, int], float] = field(default_factory=dict)  # as BareLoop says

    def leave_out(self, name: str, reason: str) -> None:
        """Forget what an engine did that did not go through with it."""
        self.missing[name] = reason
        for seen in (self.closed, self.opened, self.alone_s):
            seen.pop(name, None)

    @property
    def bare_pairs_per_s(self) -> float:
        return statistics.median(each.pairs_per_s for each in self.bare)

    def pairs_per_s(self, name: str) -> float:
        return statistics.median(each.pairs_per_s for each in self.closed[name])

    def tokens_per_s(self, name: str) -> float:
        return statistics.median(
            bare.tokens / load.seconds
            for bare, load in zip(self.bare, self.closed[name], strict=True)
        )

    def latencies_s(self, name: str) -> list[float]:
        return [latency for load in self.closed[name] for latency in load.latencies_s]

    def ratios(self, name: str, other: str | None = None) -> list[float]:
        """Return name's speed over the other's (over the bare loop's), round by round."""
        others: Sequence[BareRound | Load] = self.closed[other] if other else self.bare
        return [
            ours.pairs_per_s / theirs.pairs_per_s
            for ours, theirs in zip(self.closed[name], others, strict=True)
        ]


def rank_correlation(scores: Mapping[str, Sequence[float]], reference: str) -> dict[str, float]:
    """Return how alike each engine orders the same pairs as the reference (Spearman's)."""
    ranks = {name: np.argsort(np.argsort(each)) for name, each in scores.items()}
    return {name: float(np.corrcoef(each, ranks[reference])[0, 1]) for name, each in ranks.items()}
