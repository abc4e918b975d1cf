"""Draw goodput and latency against the offered load."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # draws into files, without a screen
from matplotlib import pyplot as plt

from benchmarks.multiples import Load


def draw_overload(path: Path, peak: float, deadline_s: float, loads: Sequence[Load]) -> None:
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
    # Without a date inside, the same figures make the same file.
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
