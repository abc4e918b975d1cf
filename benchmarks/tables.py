"""Write figures beside their goals, and tables, as Markdown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that the project set itself, beside what was measured."""

    what: str
    goal: float
    measured: float | None  # None: what it compares with was not there
    at_least: bool = True
    spread: tuple[float, float] | None = None

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        kept = self.measured >= self.goal if self.at_least else self.measured <= self.goal
        return "ok" if kept else "short"

    @classmethod
    def of_rounds(cls, what: str, goal: float, ratios: Sequence[float]) -> "Figure":
        """Return the median of several rounds, with their spread."""
        return cls(what, goal, statistics.median(ratios), spread=(min(ratios), max(ratios)))


def figure_table(figures: Iterable[Figure]) -> str:
    return table(("figure", "goal", "measured", "rounds", ""), map(_figure_row, figures))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure_row(figure: Figure) -> Sequence[str]:
    bound = "≥" if figure.at_least else "≤"
    return (
        figure.what,
        f"{bound} {figure.goal:g}",
        "" if figure.measured is None else f"**{figure.measured:.3f}**",
        "" if figure.spread is None else f"{figure.spread[0]:.3f} to {figure.spread[1]:.3f}",
        figure.verdict,
    )
