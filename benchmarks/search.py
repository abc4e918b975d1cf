"""Compare Search with the chain a client makes of it: Retrieve, then Rerank with the texts.

    make bench-search ARGS="[--data FOLDER] [--queries 2] [--rounds 24] [--write]"

Search reads the tokens that ingest kept; the chain sends the texts back, to be tokenized again.
Both score the same pairs and take turns, other queries every round; no scores are kept. The ratio
of processor time stands beside that of pairs/s: other work on the machine disturbs it less.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw

from benchmarks.machine import cpu_seconds, describe, write_report
from benchmarks.workload import read_rows
from demo.server_process import ServerProcess
from demo.stdlib_corpus import read_corpus
from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.rerank_pb2 import Document
from finesieve.v1.results_pb2 import RerankUsage, StageTimings
from finesieve_client import AsyncClient

COLLECTION = "search"
LOAD = 200  # passages of one upsert


@dataclass(frozen=True, slots=True)
class Round:
    """What one way took for the queries of a round."""

    seconds: float
    cpu_s: float  # of the server
    asked: list["Asked"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one query took, on the server and around it."""

    seconds: float
    pairs: int
    tokenize_us: int
    total_us: int
    logits: dict[str, float]


Ask = Callable[[AsyncClient, str], Awaitable[Asked]]


def main() -> None:
    arguments = _arguments()
    passages, queries = _read(arguments.data, arguments.passages)
    print(f"{len(passages)} passages, {len(queries)} queries, {arguments.retrieve_k} candidates")
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        options = ["--score-cache-mib", "0"]
        with ServerProcess(data_dir, Path(folder) / "server.log", options) as server:
            server.wait_until_serving()
            rounds = asyncio.run(_measure(server, passages, queries, arguments))
        kept = _kept_bytes(data_dir)
    report = _report(arguments, len(passages), kept, rounds)
    print(f"\n{report}")
    if arguments.write:
        write_report("search", report)


async def _measure(
    server: ServerProcess,
    passages: Sequence[Passage],
    queries: Sequence[str],
    arguments: argparse.Namespace,
) -> dict[str, list[Round]]:
    """Return each way's rounds: how long one took, and what came of its queries."""
    k = arguments.retrieve_k

    async def search(client: AsyncClient, query: str) -> Asked:
        began = time.perf_counter()
        answer = await client.search(COLLECTION, query, retrieve_k=k, top_n=k)
        logits = {each.hit.passage.id: each.hit.score.logit for each in answer.hits}
        return _asked(began, logits, answer.usage, answer.timings)

    async def chain(client: AsyncClient, query: str) -> Asked:
        began = time.perf_counter()
        found = await client.retrieve(COLLECTION, query, top_k=k)
        documents = [
            Document(
                id=hit.passage.id,
                text=hit.passage.text,
                title=hit.passage.title,
                first_stage_score=hit.retrieval_score,
            )
            for hit in found.hits
        ]
        answer = await client.rerank(query, documents)
        logits = {each.id: each.score.logit for each in answer.results}
        return _asked(began, logits, answer.usage, found.timings, answer.timings)

    ways: dict[str, Ask] = {"Search": search, "chain": chain}
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    async with AsyncClient(server.address, timeout_s=600) as client:
        await client.create_collection(COLLECTION)
        for start in range(0, len(passages), LOAD):
            await client.upsert_passages(COLLECTION, passages[start : start + LOAD])
        for number in range(arguments.rounds):
            # Who goes first changes, and so who finds the machine as the other left it.
            for name in sorted(ways, reverse=bool(number % 2)):
                some = queries[number * arguments.queries :][: arguments.queries]
                began, cpu_s = time.perf_counter(), cpu_seconds(server.pid)
                asked = await _ask_all(client, ways[name], some, arguments.callers)
                seconds = time.perf_counter() - began
                rounds[name].append(Round(seconds, cpu_seconds(server.pid) - cpu_s, asked))
            _require_same_scores(rounds["Search"][-1].asked, rounds["chain"][-1].asked)
            ratio = _ratios(rounds)[-1]
            print(f"round {number + 1}/{arguments.rounds}: {ratio:.3f}", flush=True)
    return rounds


async def _ask_all(
    client: AsyncClient, ask: Ask, queries: Sequence[str], callers: int
) -> list[Asked]:
    waiting = iter(enumerate(queries))
    answers: dict[int, Asked] = {}

    async def caller() -> None:
        for position, query in waiting:
            answers[position] = await ask(client, query)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return [answers[position] for position in range(len(queries))]


def _asked(
    began: float, logits: dict[str, float], usage: RerankUsage, *timings: StageTimings
) -> Asked:
    return Asked(
        time.perf_counter() - began,
        usage.pairs,
        sum(each.tokenize_us for each in timings),
        sum(each.total_us for each in timings),
        logits,
    )


def _require_same_scores(searched: Sequence[Asked], chained: Sequence[Asked]) -> None:
    for one, other in zip(searched, chained, strict=True):
        if one.logits != other.logits:
            raise SystemExit("Search and the chain gave different logits")


def _ratios(rounds: dict[str, list[Round]]) -> list[float]:
    return [
        chain.seconds / search.seconds
        for chain, search in zip(rounds["chain"], rounds["Search"], strict=True)
    ]


def _kept_bytes(data_dir: Path) -> float:
    [path] = data_dir.glob("collections/*/store.db")
    database = apsw.Connection(str(path))
    mean: float = database.execute("SELECT avg(length(ids)) FROM passage_tokens").get
    database.close()
    return mean


def _read(folder: Path | None, most: int) -> tuple[list[Passage], list[str]]:
    if folder is None:
        corpus = [Passage(id=row.id, title=row.title, text=row.text) for row in read_corpus()]
        # A docstring's first sentence is about what somebody would ask.
        queries = [each.text.split(".")[0][:100] for each in corpus if len(each.text) > 200]
    else:
        corpus = [
            Passage(id=row["_id"], title=row.get("title", ""), text=row["text"])
            for row in read_rows(folder, "corpus")
            if row["text"].strip()
        ]
        queries = [row["text"] for row in read_rows(folder, "queries")]
    return corpus[:most], list(dict.fromkeys(queries))


def _report(
    arguments: argparse.Namespace,
    passages: int,
    kept: float,
    rounds: dict[str, list[Round]],
) -> str:
    ratios = _ratios(rounds)
    cpu_s = {name: sum(each.cpu_s for each in rounds[name]) for name in rounds}
    data = arguments.data.name if arguments.data else "demo corpus"
    rows = [
        ("corpus", f"{data}, {passages} passages"),
        (
            "queries a round x candidates",
            f"{arguments.queries} x {arguments.retrieve_k}, {arguments.callers} callers",
        ),
        *((name, _described(rounds[name])) for name in rounds),
        (
            "Search / chain, pairs/s, median (least to most)",
            f"**{statistics.median(ratios):.3f}** ({min(ratios):.3f} to {max(ratios):.3f})",
        ),
        (
            "Search / chain, pairs per second of the server's processor time",
            f"**{cpu_s['chain'] / cpu_s['Search']:.3f}**",
        ),
        ("kept tokens of a passage, mean", f"{kept:.0f} bytes"),
        *describe(),
    ]
    lines = [f"| {what} | {value} |" for what, value in rows]
    title = f"# Search against Retrieve and Rerank, {datetime.now(UTC):%Y-%m-%d}"
    command = (
        f"{arguments.rounds} interleaved rounds by `make bench-search`; medians. The "
        "same pairs with the same logits, to the bit; the chain tokenizes every passage again."
    )
    return "\n".join([title, "", command, "", "| | |", "|---|---|", *lines])


def _described(rounds: Sequence[Round]) -> str:
    asked = [each for one in rounds for each in one.asked]
    pairs_s = statistics.median(
        sum(each.pairs for each in one.asked) / one.seconds for one in rounds
    )
    tokenizing = sum(each.tokenize_us for each in asked)
    share = tokenizing / sum(each.total_us for each in asked)
    return (
        f"{pairs_s:.1f} pairs/s, p50 {statistics.median(each.seconds for each in asked) * 1e3:.0f} "
        f"ms a query; tokenizing {tokenizing / len(asked) / 1e3:.2f} ms of it, "
        f"{share:.1%} of the server's time"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder in BEIR's layout; else the demo's corpus")
    parser.add_argument("--passages", type=int, default=3_000, help="at most so many are stored")
    parser.add_argument("--queries", type=int, default=2, help="of each round")
    parser.add_argument("--retrieve-k", type=int, default=100, help="candidates of a query")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--write", action="store_true", help="keep the report in docs/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
