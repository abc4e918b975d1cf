"""Draw what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # draws into files, without a screen
from matplotlib import pyplot as plt


@dataclass(frozen=True, slots=True)
class Point:
    """Throughput, and the latency there."""

    pairs_per_s: float
    latency_ms: float


def draw_throughput_against_latency(
    path: Path, title: str, curves: Mapping[str, Sequence[Point]], limit: float
) -> None:
    """Write one line an engine, and the bare loop's throughput as the wall that none passes."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, points in curves.items():
        axes.plot(
            [point.pairs_per_s for point in points],
            [point.latency_ms for point in points],
            marker="o",
            label=name,
        )
    axes.axvline(limit, color="grey", linestyle="--", label="bare onnxruntime loop")
    axes.set(
        title=title, xlabel="pairs/s offered (open loop)", ylabel="p95 latency, ms", xlim=(0, None)
    )
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    # Without a date inside, the same figures make the same file.
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
