"""Measure what a deadline buys: nDCG@10 of searches that answer with what they have by then.

    make bench-deadline ARGS="DATA [--deadlines-ms 15 20 ...] [--callers 1 8] [--queries 200]"

DATA is a folder in BEIR's layout; it is stored once and kept under --store. Every query is searched
under every deadline with ON_DEADLINE_PARTIAL, in a shuffled order, so that a machine that changes
speed changes all deadlines alike. Of several callers all have the same deadline and ask at once.
"""

import argparse
import asyncio
import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ir_measures
from ir_measures import nDCG
from rich.progress import track

from benchmarks.machine import cpu_seconds, dated_path, describe, write_report
from benchmarks.open_loop import percentile
from benchmarks.pictures import Bought, draw_quality_against_deadline
from demo.server_process import ServerProcess
from finesieve_client.async_client import AsyncClient
from finesieve_client.beir import Folder, read_folder
from finesieve_client.errors import DeadlineExceeded, FinesieveError
from finesieve_client.evaluation import sample

DEADLINES_MS = (15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960, 1_500, 3_000)
RETRIEVE_K = 100
TOP_N = 10
COMMAND = Path(sys.executable).parent / "finesieve"
# A search without a deadline worth the name.
PATIENT_S = 60.0
IDLE_SHARE = 0.05
COLUMNS = (
    "callers at once",
    "deadline",
    "nDCG@10",
    "answered in time",
    "candidates scored",
    "p50, p99 of answers",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One search and its answer; no hits where none came in time, and `error` says why."""

    query_id: str
    callers: int
    deadline_s: float
    took_s: float
    hits: Sequence[str] | None
    scored: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What one deadline bought so many callers at once."""

    callers: int
    deadline_s: float
    ndcg: float  # a search without an answer counts nothing
    answered: float  # of all searches
    scored: float  # of the candidates, where answered
    took_s: tuple[float, float]  # p50, p99 where answered


def main() -> None:
    arguments = _arguments()
    folder = read_folder(arguments.data)
    queries = sample(folder.queries, arguments.queries, arguments.seed)
    home = arguments.store / folder.name
    home.mkdir(parents=True, exist_ok=True)
    # The queries come again under every deadline.
    options = ("--score-cache-mib", "0")
    with ServerProcess(home / "data", home / "server.log", options) as server:
        server.wait_until_serving()
        _store(server, folder)
        first_stage, asked, full = asyncio.run(_ask(server, folder, queries, arguments))
    rows = _rows(folder, asked)
    bounds = _ndcg(folder, first_stage), _ndcg(folder, full)
    full_s = statistics.median(each.took_s for each in full)
    report = _report(arguments, folder, rows, bounds, full_s)
    print(f"\n{report}")
    _print_errors(asked)
    if arguments.write:
        write_report("deadline", report)
        curves = {
            f"{callers} at once": [
                Bought(row.deadline_s * 1e3, row.ndcg) for row in rows if row.callers == callers
            ]
            for callers in arguments.callers
        }
        title = f"What a deadline buys: {folder.name}, {RETRIEVE_K} candidates"
        draw_quality_against_deadline(dated_path("deadline.svg"), title, curves, *bounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--deadlines-ms", type=float, nargs="+", default=DEADLINES_MS)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--queries", type=int, default=200, help="sampled, seeded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path(".bench/deadline"), help="kept here")
    parser.add_argument("--write", action="store_true", help="keep table and picture in docs/")
    return parser.parse_args()


def _store(server: ServerProcess, folder: Folder) -> None:
    """Store the corpus, less what is there from before, and wait for the graph to be built."""
    command = [str(COMMAND), "ingest", str(folder.corpus), "--server", server.address]
    subprocess.run([*command, "--collection", _collection(folder)], check=True)
    while True:
        used_s = cpu_seconds(server.pid)
        time.sleep(1.0)
        if cpu_seconds(server.pid) - used_s < IDLE_SHARE:
            return


def _collection(folder: Folder) -> str:
    return folder.name.lower()


async def _ask(
    server: ServerProcess,
    folder: Folder,
    queries: Mapping[str, str],
    arguments: argparse.Namespace,
) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """Return what the first stage answers alone, what each deadline gives, and what patience."""
    async with AsyncClient(server.address) as client:
        searcher = _Searcher(client, _collection(folder))
        first_stage, asked, full = [], [], []
        for query in track(list(queries.items()), description="both bounds"):
            first_stage.append(await searcher.search(query, 1, PATIENT_S, skip_rerank=True))
            full.append(await searcher.search(query, 1, PATIENT_S))
        rounds = list(_rounds(list(queries.items()), arguments))
        for callers, deadline_s, batch in track(rounds, description="deadlines"):
            asked += await asyncio.gather(
                *(searcher.search(query, callers, deadline_s) for query in batch)
            )
    return first_stage, asked, full


def _rounds(
    queries: Sequence[tuple[str, str]], arguments: argparse.Namespace
) -> Iterator[tuple[int, float, Sequence[tuple[str, str]]]]:
    """Yield (callers, deadline, the queries they ask at once), in a seeded order."""
    rounds = [
        (callers, deadline_ms / 1e3, queries[start : start + callers])
        for callers in arguments.callers
        for deadline_ms in arguments.deadlines_ms
        for start in range(0, len(queries) - callers + 1, callers)
    ]
    random.Random(arguments.seed).shuffle(rounds)
    yield from rounds


class _Searcher:
    def __init__(self, client: AsyncClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    async def search(
        self, query: tuple[str, str], callers: int, deadline_s: float, *, skip_rerank: bool = False
    ) -> Asked:
        query_id, text = query
        began = time.perf_counter()
        hits, scored, error = None, 0, ""
        try:
            answer = await self._client.search(
                self._collection,
                text,
                retrieve_k=RETRIEVE_K,
                top_n=TOP_N,
                skip_rerank=skip_rerank,
                on_deadline="partial",
                view="id",
                timeout_s=deadline_s,
            )
        except FinesieveError as raised:
            if not isinstance(raised, DeadlineExceeded):
                raise
            error = f"{raised.reason or 'no answer came'}"
        else:
            hits = [each.hit.passage.id for each in answer.hits]
            scored = answer.usage.pairs
        took_s = time.perf_counter() - began
        return Asked(query_id, callers, deadline_s, took_s, hits, scored, error)


def _rows(folder: Folder, asked: Sequence[Asked]) -> list[Row]:
    rows = []
    for callers, deadline_s in sorted({(each.callers, each.deadline_s) for each in asked}):
        alike = [each for each in asked if (each.callers, each.deadline_s) == (callers, deadline_s)]
        answered = [each for each in alike if each.hits is not None]
        took_s = [each.took_s for each in answered]
        rows.append(
            Row(
                callers,
                deadline_s,
                _ndcg(folder, alike),
                len(answered) / len(alike),
                sum(each.scored for each in answered) / RETRIEVE_K / max(1, len(answered)),
                (percentile(took_s, 0.5), percentile(took_s, 0.99)),
            )
        )
    return rows


def _ndcg(folder: Folder, asked: Sequence[Asked]) -> float:
    """Return the mean nDCG@10; a search without an answer counts nothing."""
    run = {
        each.query_id: {hit: float(-place) for place, hit in enumerate(each.hits)}
        for each in asked
        if each.hits
    }
    judged = {query_id: dict(folder.relevant[query_id]) for query_id in run}
    return math.fsum(each.value for each in ir_measures.iter_calc([nDCG @ 10], judged, run)) / len(
        asked
    )


def _print_errors(asked: Sequence[Asked]) -> None:
    """Say how searches went without an answer."""
    for callers, deadline_s, error in sorted(
        {(each.callers, each.deadline_s, each.error) for each in asked if each.error}
    ):
        alike = [each for each in asked if (each.callers, each.deadline_s) == (callers, deadline_s)]
        unanswered = sum(each.error == error for each in alike)
        print(f"{callers} callers, {deadline_s * 1e3:g} ms: {unanswered} of {len(alike)}: {error}")


def _report(
    arguments: argparse.Namespace,
    folder: Folder,
    rows: Sequence[Row],
    bounds: tuple[float, float],
    full_s: float,
) -> str:
    how = (
        f"Search on {folder.name} with ON_DEADLINE_PARTIAL, {RETRIEVE_K} candidates, "
        f"{arguments.queries} sampled queries, nDCG@10; no answer in time counts 0. "
        f"The first stage alone: {bounds[0]:.4f}. All candidates scored: {bounds[1]:.4f}, "
        f"in {full_s * 1e3:.0f} ms (median, one caller). Made by `make bench-deadline`."
    )
    return "\n".join(
        [
            f"# What a deadline buys, {datetime.now(UTC):%Y-%m-%d}",
            "",
            how,
            "",
            f"![nDCG@10 against the deadline]({dated_path('deadline.svg').name})",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
            *(_line(row) for row in rows),
            "",
            *(f"- {what}: {value}" for what, value in describe()),
        ]
    )


def _line(row: Row) -> str:
    took = ", ".join(f"{each * 1e3:.0f} ms" for each in row.took_s) if row.answered else "-"
    return (
        f"| {row.callers} | {row.deadline_s * 1e3:g} ms | {row.ndcg:.4f} | {row.answered:.1%} "
        f"| {row.scored:.0%} | {took} |"
    )


if __name__ == "__main__":
    main()
