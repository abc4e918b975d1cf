"""Write down what one run of the rerank benchmark measured: figures asked for, tables, machine."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from benchmarks.machine import describe
from benchmarks.open_loop import percentile
from benchmarks.pictures import Point
from benchmarks.rerank_results import Results
from benchmarks.tables import Figure, figure_table, table

FINESIEVE = "finesieve"
BARE = "bare onnxruntime loop"
BARE_CALL = "the bare model call, all 8 as one batch"
INFINITY = "infinity"
INFINITY_TORCH = "infinity torch fp32"
RANK_TORCH = "CrossEncoder torch fp32"
REFERENCE = RANK_TORCH  # of scores
RANK_INT8 = "CrossEncoder onnx int8"

CLOSED = (
    *("engine", "pairs/s", "tokens/s", "of the bare loop", "p50", "p95", "p99"),
    *("CPU", "peak memory", "same order"),
)
CLOSED_NOTE = """\
CPU: the engine's share of all cores. Same order: rank correlation of its scores with those of \
CrossEncoder in fp32 (where that is not there, of the bare loop), over the same pairs."""
OPEN = ("engine", "pairs/s offered", "p50", "p95", "p99", "without an answer", "client's CPU")


def figures(results: Results) -> list[Figure]:
    """Return the figures of the closed loop and of the lone caller."""
    infinities = [name for name in results.closed if name.startswith(INFINITY)]
    fastest = max(infinities, key=results.pairs_per_s, default=None)
    of_bare = results.ratios(FINESIEVE)
    call_s = statistics.median(results.bare_alone_s)
    alone = statistics.median(results.alone_s[FINESIEVE]) / call_s
    return [
        Figure.of_rounds("speed over the bare loop's", 0.92, of_bare),
        _against(results, INFINITY_TORCH, 3.5),
        _against(results, fastest, 1.0, f"infinity's fastest here ({fastest or 'none'})"),
        _against(results, RANK_TORCH, 5.0),
        _against(results, RANK_INT8, 1.15),
        Figure("padding share of positions", 0.03, results.padding_share, at_least=False),
        Figure("one caller, 8 short documents: p50 over the bare model call's", 1.3, alone, False),
    ]


def _against(results: Results, other: str | None, goal: float, called: str = "") -> Figure:
    what = f"speed over {called or other}"
    if other not in results.closed:
        return Figure(what, goal, None)
    return Figure.of_rounds(what, goal, results.ratios(FINESIEVE, other))


def curves(results: Results) -> dict[str, list[Point]]:
    """Return the open loop's points, for the picture."""
    return {
        name: [
            Point(point.pairs_per_s, 1e3 * percentile(point.load.latencies_s, 0.95))
            for point in points
        ]
        for name, points in results.opened.items()
    }


def report(results: Results, what_was_run: str, picture: str) -> str:
    """Return the whole report as Markdown."""
    return "\n\n".join(
        [
            f"# Reranking, side by side, {datetime.now(UTC):%Y-%m-%d}",
            what_was_run,
            figure_table(figures(results)),
            *(f"Not measured: {name} {reason}." for name, reason in results.missing.items()),
            f"## Closed loop\n\n{table(CLOSED, _closed_rows(results))}",
            CLOSED_NOTE,
            "## The bare loop\n\nSeconds for the pairs that it chose its batches by:",
            table(*_tried(results.bare_tried_s)),
            "## One caller alone, 8 short documents",
            table(("engine", "p50", "p95"), _alone_rows(results)),
            f"## Open loop\n\n![Throughput against latency]({picture})",
            table(OPEN, _open_rows(results)),
            table(("machine", ""), describe()),
        ]
    )


def _closed_rows(results: Results) -> Iterator[Sequence[str]]:
    bare = results.bare
    yield (
        BARE,
        f"{results.bare_pairs_per_s:.1f}",
        f"{statistics.median(each.tokens / each.seconds for each in bare):.0f}",
        *("1", "", "", ""),
        f"{statistics.median(each.cpu_share for each in bare):.0%}",
        *("", f"{results.agreement[BARE]:.4f}"),
    )
    for name, loads in results.closed.items():
        latencies = results.latencies_s(name)
        yield (
            name,
            f"{results.pairs_per_s(name):.1f}",
            f"{results.tokens_per_s(name):.0f}",
            f"{statistics.median(results.ratios(name)):.3f}",
            *(f"{percentile(latencies, share):.2f} s" for share in (0.5, 0.95, 0.99)),
            f"{statistics.median(load.cpu_share for load in loads):.0%}",
            f"{results.peak_mib[name]:.0f} MiB",
            f"{results.agreement[name]:.4f}",
        )


def _tried(
    seconds: Mapping[tuple[int, int], float],
) -> tuple[Sequence[str], Iterator[Sequence[str]]]:
    budgets, numbers = (sorted(set(each)) for each in zip(*seconds, strict=True))
    rows = (
        (str(budget), *(f"{seconds[budget, number]:.3f}" for number in numbers))
        for budget in budgets
    )
    return ("tokens a batch", *(f"{number} at a time" for number in numbers)), rows


def _alone_rows(results: Results) -> Iterator[Sequence[str]]:
    everyone = {BARE_CALL: results.bare_alone_s, **results.alone_s}
    for name, latencies in everyone.items():
        yield (name, *(f"{1e3 * percentile(latencies, share):.1f} ms" for share in (0.5, 0.95)))


def _open_rows(results: Results) -> Iterator[Sequence[str]]:
    for name, points in results.opened.items():
        for point in points:
            yield (
                name,
                f"{point.pairs_per_s:.0f}",
                *(
                    f"{1e3 * percentile(point.load.latencies_s, share):.0f} ms"
                    for share in (0.5, 0.95, 0.99)
                ),
                _counted(point.load.failures),
                f"{point.load.client_cpu_share:.1%}",
            )


def _counted(failures: Sequence[str]) -> str:
    return "; ".join(f"{count}: {why}" for why, count in Counter(failures).items()) or "0"
