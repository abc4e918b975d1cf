"""Draw the quality that a deadline buys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # draws into files, without a screen
from matplotlib import pyplot as plt


@dataclass(frozen=True, slots=True)
class Bought:
    """A deadline, and nDCG@10 there."""

    deadline_ms: float
    ndcg: float


def draw_quality_against_deadline(
    path: Path, title: str, curves: Mapping[str, Sequence[Bought]], first_stage: float, full: float
) -> None:
    """Write one line for so many callers, between the first stage alone and all scored."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, points in curves.items():
        axes.plot(
            [point.deadline_ms for point in points],
            [point.ndcg for point in points],
            marker="o",
            label=name,
        )
    axes.axhline(first_stage, color="grey", linestyle=":", label="first stage alone")
    axes.axhline(full, color="grey", linestyle="--", label="all candidates scored")
    axes.set(title=title, xlabel="deadline of a search, ms", ylabel="nDCG@10", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    # Without a date inside, the same figures make the same file.
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
