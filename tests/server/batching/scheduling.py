"""Compare the planner with simpler arms, in simulation.

    python -m tests.server.batching.scheduling

writes docs/benchmarks/<date>-scheduling.md and .svg. Lengths and bursts are recorded (`traces`).
Goodput counts the calls that are answered by their deadline, a second.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from finesieve_server.batching.plan import Priority
from tests.server.batching.arms import AdaptiveLifo, CoDel, Fifo, InTime, Semaphore
from tests.server.batching.simulation import Arm, Call, Planner, Played, cpu_cost, play
from tests.server.batching.traces import bursts, call_lengths

RESULTS = Path(__file__).parents[3] / "docs" / "benchmarks"
LENGTHS = call_lengths()
PAIRS = [tokens for call in LENGTHS for tokens in call]
# A call of 32 documents alone takes 0.113 s on average; its deadline is five times that.
ALONE_S = 0.113
PATIENCE_S = 5 * ALONE_S
# The highest rate at which the planner answers 99.9% in time, to a quarter of a call a second.
PEAK = 2.75
FACTORS = (1, 2, 5, 10)
# The simpler arms get the parameters that are best for this load.
ARMS: Mapping[str, Callable[[], Arm]] = {
    "finesieve": lambda: Planner(cpu_cost()),
    "semaphore of 4 calls": lambda: Semaphore(4),
    "CoDel": lambda: CoDel(ALONE_S, PATIENCE_S),
    "adaptive LIFO": lambda: AdaptiveLifo(ALONE_S, PATIENCE_S),
    "FIFO, late calls dropped": InTime,
    "FIFO, unbounded": Fifo,
}


def steady(
    rate: float, seconds: float, seed: int, make: Callable[[float, random.Random], Call]
) -> Iterator[Call]:
    """Yield calls that arrive independently of each other."""
    chance = random.Random(seed)
    at = chance.expovariate(rate)
    while at < seconds:
        yield make(at, chance)
        at += chance.expovariate(rate)


def bursty(
    rate: float, seconds: float, seed: int, make: Callable[[float, random.Random], Call]
) -> Iterator[Call]:
    """Yield calls that arrive as recorded."""
    chance = random.Random(seed)
    for at in bursts():
        if at / rate < seconds:
            yield make(at / rate, chance)


def rerank(at: float, chance: random.Random, tenant: str = "default") -> Call:
    return Call(at, chance.choice(LENGTHS), PATIENCE_S, tenant)


def mixed(at: float, chance: random.Random) -> Call:
    """Return a call of 2, 32 or 300 documents; 3 seconds for any."""
    [documents] = chance.choices((2, 32, 300), (0.6, 0.35, 0.05))
    return Call(at, chance.choices(PAIRS, k=documents), 3.0)


def run(arm: str, calls: Iterator[Call], *, spells: float = 0.0) -> Played:
    return play(ARMS[arm](), calls, cpu_cost(), spells=spells)


def neighbours(noise: float, seconds: float = 120.0) -> Sequence[Call]:
    """Return the calls of nine tenants who send a tenth of the peak each.

    Beside one that sends `noise` times as much.
    """
    calls: list[Call] = []
    for number in range(10):
        factor = noise if number == 9 else 1.0

        def make(at: float, chance: random.Random, tenant: str = str(number)) -> Call:
            return rerank(at, chance, tenant)

        calls += steady(PEAK / 10 * factor, seconds, number, make)
    played = play(Planner(cpu_cost()), calls, cpu_cost())
    return [call for call in played.calls if call.tenant != "9"]


def closed(
    first: Sequence[Call], again: Callable[[Call, random.Random], Call], seconds: float
) -> Played:
    """Let callers ask again as soon as they are answered, until that time."""
    chance = random.Random(1)

    def follow(call: Call) -> Call | None:
        return again(call, chance) if call.done_at < seconds else None

    return play(Planner(cpu_cost()), first, cpu_cost(), follow=follow)


def beside_bulk(factor: float, seconds: float = 60.0) -> tuple[list[Call], list[Call]]:
    """Return the interactive calls of an open loop, and the bulk that four loaders got done."""
    chance = random.Random(2)

    def load(at: float) -> Call:
        return Call(at, chance.choices(PAIRS, k=64), 60.0, priority=Priority.BULK)

    def follow(call: Call) -> Call | None:
        is_load = call.priority is Priority.BULK and call.done_at < seconds
        return load(call.done_at) if is_load else None

    calls = [*steady(factor * PEAK, seconds, 3, rerank), *(load(0.001 * n) for n in range(4))]
    played = play(Planner(cpu_cost()), calls, cpu_cost(), follow=follow)
    bulk = [call for call in played.calls if call.priority is Priority.BULK]
    return [call for call in played.calls if call not in bulk], bulk


def goodput(calls: Sequence[Call], seconds: float) -> float:
    return sum(call.good for call in calls) / seconds


def scored(calls: Sequence[Call], seconds: float) -> float:
    """Return the pairs of good calls, a second."""
    return sum(len(call.lengths) for call in calls if call.good) / seconds


def main() -> None:
    seconds = 60.0
    steady_rows, bursty_rows, mixed_rows = {}, {}, {}
    for arm in ARMS:
        steady_rows[arm] = [
            goodput(run(arm, steady(x * PEAK, seconds, 4, rerank)).calls, seconds) for x in FACTORS
        ]
        bursty_rows[arm] = [
            goodput(run(arm, bursty(x * PEAK, seconds, 4, rerank)).calls, seconds) for x in FACTORS
        ]
        mixed_rows[arm] = [
            scored(run(arm, steady(x * PEAK, seconds, 4, mixed)).calls, seconds) for x in FACTORS
        ]
    quiet = {noise: neighbours(noise) for noise in (1.0, 10.0, 100.0)}
    bulk = {factor: beside_bulk(factor) for factor in (0.5, 1.0, 2.0, 10.0)}
    name = f"{datetime.now(UTC):%Y-%m-%d}-scheduling"
    _draw(RESULTS / f"{name}.svg", steady_rows)
    report = [
        f"# Scheduling, simulated, {datetime.now(UTC):%Y-%m-%d}",
        "",
        (
            f"By `python -m tests.server.batching.scheduling`: {seconds:g} s of each load on one "
            "simulated device that costs what the bundled int8 cross-encoder was measured to cost "
            f"on two cores. Peak: {PEAK:g} calls/s of 32 documents (demo corpus, mean 80 tokens), "
            f"the most that is answered to 99.9% within {PATIENCE_S:.2f} s, five times the time of "
            "a call alone. What each rule is worth: [0007](../decisions/0007-fair-lines.md)."
        ),
        "",
        f"![goodput against offered load]({name}.svg)",
        "",
        "Calls answered in time, a second, at multiples of the peak, arriving independently:",
        *_table(steady_rows, "{:.2f}"),
        "",
        "The same, arriving in recorded bursts:",
        *_table(bursty_rows, "{:.2f}"),
        "",
        "Calls of 2, 32 and 300 documents, 3 s each: pairs of calls answered in time, a second:",
        *_table(mixed_rows, "{:.0f}"),
        "",
        "Nine tenants at a tenth of the peak each, beside a tenth:",
        "",
        "| it sends, times its share | of the nine's calls in time |",
        "|---|---|",
        *(f"| {x:g} | {goodput(calls, len(calls)):.2%} |" for x, calls in quiet.items()),
        "",
        "Interactive calls beside four loaders that always have 64 texts waiting:",
        "",
        "| offered / peak | interactive calls in time, a second | bulk texts a second |",
        "|---|---|---|",
        *(
            f"| {x:g} | {goodput(calls, seconds):.2f} of {len(calls) / seconds:.2f} "
            f"| {scored(loads, seconds):.0f} |"
            for x, (calls, loads) in bulk.items()
        ),
    ]
    (RESULTS / f"{name}.md").write_text("\n".join(report) + "\n", encoding="utf-8")


def _table(rows: Mapping[str, Sequence[float]], form: str) -> list[str]:
    head = ["", "| | " + " | ".join(f"{x}x" for x in FACTORS) + " |", "|---" * 5 + "|"]
    return head + [
        f"| {arm} | " + " | ".join(form.format(value) for value in values) + " |"
        for arm, values in rows.items()
    ]


def _draw(path: Path, rows: Mapping[str, Sequence[float]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")  # draws into files, without a screen
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for arm, values in rows.items():
        axes.plot(FACTORS, [value / PEAK for value in values], marker="o", label=arm)
    axes.axhline(1.0, color="grey", linestyle="--", linewidth=0.8)
    axes.set(
        xscale="log",
        xlabel="offered load / peak",
        ylabel="goodput / peak",
        ylim=(0, None),
        title="Calls answered in time, under overload (simulated)",
    )
    axes.set_xticks(FACTORS, [f"{x}" for x in FACTORS], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
