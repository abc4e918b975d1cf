"""Offer the server more than it can do, and see what is left of what it does.

    make bench-overload ARGS="[--factors 1 2 5 10] [--seconds 30] [--write]"

Rerank calls of 32 documents of the demo's corpus, no pair twice, arrive as an open loop; their
deadline is five times what a call takes alone. First the peak is found. Then multiples of it are
offered, each followed by 0.8 of the peak. Then nine quiet tenants meet a noisy one.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.machine import dated_path, describe, write_report
from benchmarks.open_loop import Senders
from benchmarks.overload.multiples import RECOVERED_S, RELIEF, RELIEF_S, Load, offer
from benchmarks.overload.neighbours import NOISE, QUIET, Neighbours, compare
from benchmarks.overload.peak import PATIENCE, Peak, find_peak, unloaded_s
from benchmarks.pictures import draw_overload
from benchmarks.workload import rerank_messages
from demo.server_process import ServerProcess

# Messages that a sender makes beforehand, and goes round: more than it sends in one load.
MESSAGES = 4_000
SERVER = (sys.executable, "-m", "benchmarks.overload.tenant_server")
COLUMNS = (
    "offered / peak",
    "calls/s",
    "goodput / peak",
    "admitted in time",
    "admitted p50, p99",
    "refused",
    "refusal p50, p99",
    f"relief: in time in the first {RECOVERED_S:g} s, then",
    "server's, senders' share of all cores",
    "senders' lag p99",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was measured."""

    alone_s: float
    peak: Peak
    loads: Sequence[Load]
    neighbours: Neighbours | None


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        # Kept scores would answer what comes again; nothing here does, but messages go round.
        options = ("--score-cache-mib", "0", *arguments.server_option)
        home = Path(folder)
        with ServerProcess(home / "data", home / "server.log", options, SERVER) as server:
            server.wait_until_serving()
            messages = partial(rerank_messages, arguments.data, MESSAGES, arguments.documents)
            with Senders(server.address, arguments.senders, messages) as senders:
                seen = _measure(arguments, senders, server.pid)
    report = _report(arguments, seen)
    print(f"\n{report}")
    if arguments.write:
        write_report("overload", report)
        draw_overload(
            dated_path("overload.svg"), seen.peak.calls_per_s, PATIENCE * seen.alone_s, seen.loads
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overload", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, help="folder in BEIR's layout; else the demo's corpus")
    parser.add_argument("--documents", type=int, default=32, help="documents of a call")
    parser.add_argument("--factors", type=float, nargs="*", default=[1, 2, 5, 10])
    parser.add_argument("--seconds", type=float, default=30, help="of each load")
    parser.add_argument("--rounds", type=int, default=2, help="of tenants; 0 leaves them out")
    parser.add_argument("--searched", type=int, default=300, help="calls of a rate while searching")
    parser.add_argument("--proved", type=int, default=1_000, help="calls that prove the peak")
    parser.add_argument("--peak", type=float, help="calls a second; not searched for then")
    parser.add_argument("--senders", type=int, default=1, help="processes that send")
    parser.add_argument("--server-option", nargs="*", default=[], help="such as --threads=1")
    parser.add_argument("--write", action="store_true", help="keep table and picture in docs/")
    return parser.parse_args()


def _measure(arguments: argparse.Namespace, senders: Senders, server_pid: int) -> Seen:
    alone_s = unloaded_s(senders)
    deadline_s = PATIENCE * alone_s
    print(f"alone {alone_s * 1e3:.0f} ms, deadline {deadline_s * 1e3:.0f} ms", flush=True)
    peak = Peak(arguments.peak or 0.0, 0, 0)
    if not arguments.peak:
        searched, proved = arguments.searched, arguments.proved
        peak = find_peak(senders, alone_s, deadline_s, searched=searched, proved=proved)
    rate, seconds = peak.calls_per_s, arguments.seconds
    loads = []
    for factor in arguments.factors:
        loads.append(
            offer(senders, server_pid, rate, factor, seconds=seconds, deadline_s=deadline_s)
        )
        print(_row(loads[-1], rate), flush=True)
    neighbours = None
    if arguments.rounds:
        neighbours = compare(
            senders, rate, rounds=arguments.rounds, seconds=seconds, deadline_s=deadline_s
        )
    return Seen(alone_s, peak, loads, neighbours)


def _row(load: Load, peak: float) -> str:
    cells = (
        f"{load.factor:g}",
        f"{load.offered:.1f}",
        f"**{load.goodput / peak:.3f}**",
        f"{load.admitted_in_time:.1%}",
        ", ".join(f"{each * 1e3:.0f} ms" for each in load.admitted_s),
        f"{load.refused:.0%}" + (f"; {load.failed} failed" if load.failed else ""),
        ", ".join(f"{each * 1e3:.1f} ms" for each in load.refusal_s) if load.refused else "-",
        f"{load.relieved:.0%}, {load.recovered:.1%}",
        f"{load.server_cpu:.0%}, {load.senders_cpu:.1%}",
        f"{load.lag_p99_s * 1e3:.1f} ms",
    )
    return f"| {' | '.join(cells)} |"


def _report(arguments: argparse.Namespace, seen: Seen) -> str:
    alone_s, peak = seen.alone_s, seen.peak
    data = arguments.data.name if arguments.data else "demo corpus"
    proof = f" ({peak.answered} of {peak.calls} calls in time)" if peak.calls else " (given)"
    how = (
        f"{arguments.documents} documents of the {data} a call: {alone_s * 1e3:.0f} ms alone. The "
        f"deadline is {PATIENCE:g} times that, {PATIENCE * alone_s * 1e3:.0f} ms, and latency "
        f"counts from when a call was due. Peak: {peak.calls_per_s:.2f} calls/s{proof}. "
        f"Each load for {arguments.seconds:g} s, then {RELIEF:g} of the peak for {RELIEF_S:g} s. "
        "Made by `make bench-overload`."
    )
    lines = [
        f"# Overload, {datetime.now(UTC):%Y-%m-%d}",
        "",
        how,
        "",
        f"![goodput and latency against offered load]({dated_path('overload.svg').name})",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *(_row(each, peak.calls_per_s) for each in seen.loads),
        "",
    ]
    if seen.neighbours:
        lines += [*_tenants(seen.neighbours), ""]
    return "\n".join([*lines, *(f"- {what}: {value}" for what, value in describe())])


def _tenants(seen: Neighbours) -> list[str]:
    who = (
        f"{QUIET} quiet tenants, each with a tenth of the peak, beside one that wants "
        f"{NOISE:g} times as much; {seen.quiet_calls} quiet calls each way:"
    )
    cells = (
        f"{seen.quiet_alone:.1%}",
        f"{seen.quiet_beside:.1%}",
        f"**{seen.lost:.1%}**",
        f"{seen.worst_beside:.1%}",
        f"{seen.noisy:.1%}",
    )
    return [
        who,
        "",
        "| quiet in time alone | beside the noisy one | lost | the worst off | noisy in time |",
        "|---|---|---|---|---|",
        f"| {' | '.join(cells)} |",
    ]


if __name__ == "__main__":
    main()
