"""Say how much two orders of the same things agree."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

DEPTHS = (1, 3, 5, 10)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much two orders agree.

    `kendall_tau`: 1 for the same order, -1 for the reverse, 0 for neither; None where there are
    fewer than two. `overlap`: by depth, which share of the first so many both have.
    """

    kendall_tau: float | None
    overlap: Mapping[int, float]


def agreement(order: Sequence[Hashable], other: Sequence[Hashable]) -> Agreement:
    """Compare two orders, best first, of the same things; raises ValueError where they differ."""
    if len(set(order)) != len(order) or set(order) != set(other) or len(order) != len(other):
        raise ValueError("the orders must hold the same things, each once")
    return Agreement(
        kendall_tau=_kendall_tau(order, other),
        overlap={
            depth: len({*order[:depth]} & {*other[:depth]}) / depth
            for depth in DEPTHS
            if depth < len(order)
        },
    )


def _kendall_tau(order: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    if len(order) < 2:
        return None
    place = {each: at for at, each in enumerate(other)}
    pairs = list(combinations([place[each] for each in order], 2))
    return sum(1 if first < second else -1 for first, second in pairs) / len(pairs)
