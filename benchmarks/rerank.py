"""Compare the server's reranking with the limit and with what people use today, side by side.

    make bench ARGS="[--checkpoint FOLDER] [--data FOLDER] [--quick] [--write]"

The limit is a bare onnxruntime loop. infinity-emb and sentence-transformers run in environments of
their own, made on the first run; they need the checkpoint that the served model was made of, as a
local folder in transformers' layout, and are left out without it. All get the same calls, and no
call comes twice, so that no cache flatters. They take turns, one under load at a time, so that a
machine that changes speed changes all.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bare import BareLoop
from benchmarks.load import closed_loop, open_loop
from benchmarks.machine import RESULTS, dated_path, peak_memory_mib, write_report
from benchmarks.peers.environment import FOLDER
from benchmarks.peers.lineup import Lineup, running
from benchmarks.peers.peer import Peer, Unavailable
from benchmarks.peers.sentence_transformers import BATCH_SIZES
from benchmarks.pictures import draw_throughput_against_latency
from benchmarks.rerank_report import BARE, REFERENCE, curves, report
from benchmarks.rerank_results import OpenPoint, Results, rank_correlation
from benchmarks.workload import Workload

SAMPLE = 4  # calls to warm up with and choose batch sizes by, and to compare scores of
SHORT_DOCUMENTS = 8
ALONE_TURNS, ALONE_CALLS = 5, 10
# Of what the engine did in the closed loop. At 1 a queue grows for as long as one looks.
OFFERED = (0.4, 0.7, 0.9)
OFFERED_QUICKLY = (0.4, 0.8)
FEWEST_ARRIVALS = 20


def main() -> None:
    arguments = _arguments()
    workload = Workload(arguments.data, seed=1)
    bare = BareLoop(arguments.models, workload.calls(SAMPLE, arguments.documents))
    results = asyncio.run(_measure(workload, bare, arguments))
    folder = RESULTS if arguments.write else FOLDER
    picture = dated_path("rerank.svg", folder)
    draw_throughput_against_latency(
        picture,
        f"Reranking {arguments.documents} documents a call",
        curves(results),
        results.bare_pairs_per_s,
    )
    written = report(results, _what_was_run(arguments, bare, results), picture.name)
    print(f"\n{written}\n")
    write_report("rerank", written, folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder in BEIR's layout; else the demo's corpus")
    parser.add_argument("--checkpoint", type=Path, help="of --models, for the other engines")
    parser.add_argument("--models", default="bundled", help="what finesieve serves")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--documents", type=int, default=32, help="documents of a call")
    parser.add_argument("--calls", type=int, default=2, help="calls of each caller in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each offered rate")
    parser.add_argument("--quick", action="store_true", help="a rough look")
    parser.add_argument("--write", action="store_true", help="keep the report in docs/, not .bench")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.calls, arguments.rounds, arguments.seconds = 1, 2, 4.0
    return arguments


async def _measure(workload: Workload, bare: BareLoop, arguments: argparse.Namespace) -> Results:
    sample = workload.calls(SAMPLE, arguments.documents)
    async with running(arguments.models, arguments.checkpoint, sample) as lineup:
        results = Results(missing=lineup.missing, bare_tried_s=bare.tried_s)
        await _compare_scores(lineup, workload, bare, arguments.documents, results)
        await _closed_loop(lineup, workload, bare, arguments, results)
        await _alone(lineup, workload, bare, results)
        await _open_loop(lineup, workload, arguments, results)
    return results


@contextmanager
def _or_left_out(peer: Peer, lineup: Lineup, results: Results) -> Iterator[None]:
    """Go on without an engine that fails in here, unless it is our own."""
    try:
        yield
    except Unavailable as error:
        if peer is lineup.finesieve:
            raise
        print(f"{peer.name} {error}", flush=True)
        lineup.peers.remove(peer)
        results.leave_out(peer.name, str(error))


async def _compare_scores(
    lineup: Lineup, workload: Workload, bare: BareLoop, documents: int, results: Results
) -> None:
    """See that all engines do the same work."""
    calls = workload.calls(SAMPLE, documents)
    scores = {BARE: [score for call in calls for score in bare.scores(call)]}
    for peer in _in_turn(lineup.peers, 0):
        with _or_left_out(peer, lineup, results):
            scores[peer.name] = [score for call in calls for score in await peer.rerank(call)]
    reference = REFERENCE if REFERENCE in scores else BARE
    results.agreement = rank_correlation(scores, reference)


async def _closed_loop(
    lineup: Lineup,
    workload: Workload,
    bare: BareLoop,
    arguments: argparse.Namespace,
    results: Results,
) -> None:
    text, padding = await lineup.finesieve.positions()
    for number in range(arguments.rounds):
        calls = workload.calls(arguments.callers * arguments.calls, arguments.documents)
        results.bare.append(bare.run(calls))
        said = [f"round {number + 1}, pairs/s: bare {results.bare[-1].pairs_per_s:.0f}"]
        for peer in _in_turn(lineup.peers, number):
            with _or_left_out(peer, lineup, results):
                load = await closed_loop(peer, calls, arguments.callers)
                results.closed.setdefault(peer.name, []).append(load)
                said.append(f"{peer.name} {load.pairs_per_s:.0f}")
        print(", ".join(said), flush=True)
    texts_now, padding_now = await lineup.finesieve.positions()
    results.padding_share = (padding_now - padding) / (texts_now - text + padding_now - padding)


async def _alone(lineup: Lineup, workload: Workload, bare: BareLoop, results: Results) -> None:
    for _ in range(ALONE_TURNS):
        calls = workload.short_calls(ALONE_CALLS, SHORT_DOCUMENTS)
        results.bare_alone_s += [bare.alone_s(call) for call in calls]
        for peer in _in_turn(lineup.peers, 0):
            with _or_left_out(peer, lineup, results):
                load = await closed_loop(peer, calls, callers=1)
                results.alone_s.setdefault(peer.name, []).extend(load.latencies_s)


async def _open_loop(
    lineup: Lineup, workload: Workload, arguments: argparse.Namespace, results: Results
) -> None:
    for number, share in enumerate(OFFERED_QUICKLY if arguments.quick else OFFERED):
        for peer in _in_turn(lineup.peers, number):
            with _or_left_out(peer, lineup, results):
                offered = share * results.pairs_per_s(peer.name)
                rate = offered / arguments.documents
                count = max(FEWEST_ARRIVALS, round(rate * arguments.seconds))
                calls = workload.calls(count, arguments.documents)
                load = await open_loop(peer, calls, rate, seed=number)
                results.opened.setdefault(peer.name, []).append(OpenPoint(offered, load))
                results.peak_mib[peer.name] = peak_memory_mib(peer.pid)
        print(f"offered {share:.0%} of each engine's throughput", flush=True)


def _in_turn(peers: Sequence[Peer], number: int) -> list[Peer]:
    """Return all of them, in each round another one first."""
    first = number % len(peers)
    return [*peers[first:], *peers[:first]]


def _what_was_run(arguments: argparse.Namespace, bare: BareLoop, results: Results) -> str:
    data = arguments.data.name if arguments.data else "the demo corpus"
    tokens = sum(each.tokens for each in results.bare) / sum(each.pairs for each in results.bare)
    shortest = min(each.shortest for each in results.bare)
    longest = max(each.longest for each in results.bare)
    return (
        f"{arguments.rounds} interleaved rounds by `make bench`: medians of the rounds, a ratio "
        f"is the median of the rounds' ratios. {arguments.callers} callers ask at a time, each for "
        f"{arguments.documents} documents of {data}, {tokens:.0f} tokens a pair on average "
        f"({shortest} to {longest}). Every round has other pairs, the same for all engines, so no "
        f"cache helps. finesieve serves `{arguments.models}` with its defaults, save that it keeps "
        "no scores (`--score-cache-mib 0`); the bare loop runs that model in batches of at most "
        f"{bare.budget} tokens, {bare.side_by_side} at a time, its best. infinity runs with its "
        "defaults (batches of 32), not tuned. CrossEncoder runs with the fastest of its batch "
        f"sizes {BATCH_SIZES}; as a library it has no queue, so its calls go one after another "
        "behind a lock, and its latencies under many callers are mostly waiting. Each has all "
        "cores."
    )


if __name__ == "__main__":
    main()
