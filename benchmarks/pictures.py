"""Draw what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # draws into files, without a screen
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from benchmarks.overload.multiples import Load
from benchmarks.retrieval.results import Curve


@dataclass(frozen=True, slots=True)
class Point:
    """Throughput, and the latency there."""

    pairs_per_s: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Bought:
    """A deadline, and nDCG@10 there."""

    deadline_ms: float
    ndcg: float


def draw_throughput_against_latency(
    path: Path, title: str, curves: Mapping[str, Sequence[Point]], limit: float
) -> None:
    """Write one line an engine, and the bare loop's throughput as the wall that none passes."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, points in curves.items():
        _draw_line(axes, name, [(point.pairs_per_s, point.latency_ms) for point in points])
    axes.axvline(limit, color="grey", linestyle="--", label="bare onnxruntime loop")
    axes.set(
        title=title, xlabel="pairs/s offered (open loop)", ylabel="p95 latency, ms", xlim=(0, None)
    )
    axes.set_yscale("log")
    _write_out(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper right")
    _save(figure, path)


def draw_quality_against_deadline(
    path: Path, title: str, curves: Mapping[str, Sequence[Bought]], first_stage: float, full: float
) -> None:
    """Write one line for so many callers, between the first stage alone and all scored."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, points in curves.items():
        _draw_line(axes, name, [(point.deadline_ms, point.ndcg) for point in points])
    axes.axhline(first_stage, color="grey", linestyle=":", label="first stage alone")
    axes.axhline(full, color="grey", linestyle="--", label="all candidates scored")
    axes.set(title=title, xlabel="deadline of a search, ms", ylabel="nDCG@10", xscale="log")
    _write_out(axes.xaxis)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, path)


def draw_recall_against_throughput(path: Path, curves: Mapping[str, Curve]) -> None:
    """Write one line an engine; each point is an ef, the same ones for all."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, curve in curves.items():
        _draw_line(axes, name, [(point.recall, point.queries_per_s) for point in curve.points])
    axes.set(
        title="Recall against throughput", xlabel="recall@10", ylabel="queries/s", yscale="log"
    )
    _write_out(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, path)


def draw_overload(path: Path, peak: float, deadline_s: float, loads: Sequence[Load]) -> None:
    """Write goodput beside the latencies of what was admitted and what was refused."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    offered = [load.factor for load in loads]
    left.plot(offered, [load.goodput / peak for load in loads], marker="o", label="goodput")
    left.plot(
        offered,
        [min(1.0, load.factor) for load in loads],
        color="grey",
        linestyle="--",
        label="ideal",
    )
    left.set(ylabel="answered inside the deadline / peak", ylim=(0, None))
    for name, values in (
        ("admitted, p50", [load.admitted_s[0] for load in loads]),
        ("admitted, p99", [load.admitted_s[1] for load in loads]),
        ("refused, p50", [load.refusal_s[0] for load in loads]),
        ("refused, p99", [load.refusal_s[1] for load in loads]),
    ):
        right.plot(offered, [value * 1e3 for value in values], marker="o", label=name)
    right.axhline(deadline_s * 1e3, color="grey", linestyle="--", label="deadline")
    right.set(ylabel="ms from when the call was due", yscale="log")
    for axes in (left, right):
        axes.set(xlabel="offered load / peak", xscale="log", xticks=offered)
        axes.set_xticks(offered, [f"{each:g}" for each in offered])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    _save(figure, path)


def _draw_line(axes: Axes, name: str, points: Sequence[tuple[float, float]]) -> None:
    axes.plot(*zip(*points, strict=True), marker="o", label=name)


def _write_out(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2, 5, 10, 20 and so on."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(LogLocator(subs=()))


def _save(figure: Figure, path: Path) -> None:
    # Without a date inside, the same figures make the same file.
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
