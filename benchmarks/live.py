"""Search a collection while it is written to, and see that nothing is lost, doubled or late.

    make bench-live ARGS="[--vectors FILE.npy] [--passages 20000] [--seconds 60] [--write]"

One writer inserts, updates and deletes without a pause, so that the index grows, is compacted and
is saved meanwhile; searchers ask for what they know to be there, or gone. What is known: a write
counts from its answer on, and between its request and its answer nothing is said of its passages.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import cpu_seconds, describe, write_report
from demo.server_process import ServerProcess
from finesieve.v1 import passages_pb2, retrieval_pb2, retrieval_pb2_grpc

Matrix = NDArray[np.float32]

COLLECTION = "live"
BATCH = 200
TOP_K = 10
SEARCHERS = 2
NEWEST = 5_000  # of what is known, that searches ask for
LATE_S = 0.05
UPKEEP = ("snapshot saved", "index compaction finished")


@dataclass
class Outcome:
    """What the searchers saw."""

    latencies_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    written: int = 0  # passages inserted, updated and deleted
    checks: Counter[str] = field(default_factory=Counter)


class Live:
    """One writer and some searchers of one collection."""

    def __init__(
        self, channel: grpc.aio.Channel, vectors: Matrix, passages: int, seed: int
    ) -> None:
        """Draw every embedding from `vectors`, each once in a while."""
        self.outcome = Outcome()
        self._stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        self._vectors = vectors
        self._passages = passages
        self._chance = random.Random(seed)
        self._stop = False
        self._next = 0
        self._rows: dict[str, int] = {}  # what is stored and known to be: the vector of each id
        self._gone: dict[str, int] = {}  # what was deleted, its vector then
        self._changes: Counter[str] = Counter()  # of each id, counted as they are asked for

    async def fill(self) -> None:
        """Create the collection and bring in the first passages."""
        await self._stub.CreateCollection(
            retrieval_pb2.CreateCollectionRequest(
                name=COLLECTION, dimension=self._vectors.shape[1], caller_embeds=True
            )
        )
        while len(self._rows) < self._passages:
            await self._upsert([])
        self.outcome.written = 0

    async def run(self, seconds: float, batches: int = 1 << 30) -> None:
        """Write and search until the time is over, or so many batches are written."""
        searchers = [asyncio.create_task(self._search()) for _ in range(SEARCHERS)]
        give_up = time.perf_counter() + seconds
        try:
            while time.perf_counter() < give_up and batches > 0:
                await self._upsert(self._some(BATCH * 3 // 4))
                await self._delete(self._some(BATCH // 4))
                batches -= 1
        finally:
            self._stop = True
            await asyncio.gather(*searchers)

    def _some(self, count: int) -> list[str]:
        """Draw ids of what is stored; soon done, for searches that are timed wait meanwhile."""
        drawn: dict[str, None] = {}
        while len(drawn) < count:
            each = f"p{self._chance.randrange(self._next)}"
            if each in self._rows:
                drawn[each] = None
        return list(drawn)

    async def _upsert(self, updated: Sequence[str]) -> None:
        new = [f"p{self._next + at}" for at in range(BATCH - len(updated))]
        self._next += len(new)
        rows = {each: self._chance.randrange(len(self._vectors)) for each in [*updated, *new]}
        self._changes.update(rows)
        for each in updated:
            del self._rows[each]
        request = retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION)
        for each, row in rows.items():
            passage = request.passages.add(id=each, text="live")
            passage.embedding.values.extend(self._vectors[row].tolist())
            passage.metadata.update({"even": row % 2 == 0})
        await self._stub.UpsertPassages(request)
        self._rows.update(rows)
        self.outcome.written += len(rows)

    async def _delete(self, ids: Sequence[str]) -> None:
        self._changes.update(ids)
        gone = {each: self._rows.pop(each) for each in ids}
        await self._stub.DeletePassages(
            retrieval_pb2.DeletePassagesRequest(collection=COLLECTION, ids=ids)
        )
        self._gone.update(gone)
        self.outcome.written += len(ids)

    async def _search(self) -> None:
        while not self._stop:
            known = self._gone if self._gone and self._chance.random() < 0.2 else self._rows
            back = self._chance.randrange(min(len(known), NEWEST))
            sought = next(islice(reversed(known), back, None))
            await self._look_for(sought, known[sought], there=known is self._rows)

    async def _look_for(self, sought: str, row: int, *, there: bool) -> None:
        changes = self._changes[sought]
        filtered = self._chance.random() < 0.25
        began_s = time.perf_counter()
        seen = await self._sees(sought, row, filtered=filtered)
        self.outcome.latencies_s.append(time.perf_counter() - began_s)
        again = seen or not there or await self._sees(sought, row, filtered=filtered)
        exactly = again or await self._sees(sought, row, filtered=filtered, exact=True)
        if self._changes[sought] != changes:
            return  # it was being written meanwhile
        self.outcome.checks["there" if there else "gone"] += 1
        if seen and not there:
            self.outcome.wrong.append(f"{sought} is back from the dead")
        if there and not seen:
            if exactly and not again:
                self.outcome.checks["not reached in the graph"] += 1
            else:
                self.outcome.wrong.append(f"{sought} was lost{' for a moment' * again}")

    async def _sees(self, sought: str, row: int, *, filtered: bool, exact: bool = False) -> bool:
        """Return whether a passage is among the nearest to its vector."""
        request = retrieval_pb2.RetrieveRequest(
            collection=COLLECTION, top_k=TOP_K, view=passages_pb2.PASSAGE_VIEW_ID
        )
        request.options.exact = exact
        request.embedding.values.extend(self._vectors[row].tolist())
        if filtered:
            request.filter.match.field = "even"
            request.filter.match.any_of.add(bool_value=row % 2 == 0)
        hits = (await self._stub.Retrieve(request)).hits
        ids = [hit.passage.id for hit in hits]
        if len(set(ids)) < len(ids):
            self.outcome.wrong.append(f"doubled: {ids}")
        return sought in ids


async def _measure(server: ServerProcess, vectors: Matrix, arguments: argparse.Namespace) -> str:
    async with grpc.aio.insecure_channel(server.address) as channel:
        live = Live(channel, vectors, arguments.passages, arguments.seed)
        await live.fill()
        print(f"{arguments.passages} passages are in; now for {arguments.seconds} s", flush=True)
        before, own, began_s = cpu_seconds(server.pid), time.process_time(), time.perf_counter()
        await live.run(arguments.seconds)
        took_s = time.perf_counter() - began_s
    log = server.log_path.read_text(encoding="utf-8")
    return _report(
        live.outcome,
        took_s,
        (cpu_seconds(server.pid) - before) / took_s,
        (time.process_time() - own) / took_s,
        {what: log.count(f'"{what}"') for what in UPKEEP},
        arguments,
    )


def _report(
    outcome: Outcome,
    took_s: float,
    server_cores: float,
    own_cores: float,
    upkeep: dict[str, int],
    arguments: argparse.Namespace,
) -> str:
    milliseconds = np.sort(outcome.latencies_s) * 1e3
    p50, p90, p99, p999 = np.percentile(milliseconds, [50, 90, 99, 99.9])
    late = int(np.count_nonzero(milliseconds > LATE_S * 1e3))
    rows = [
        ("passages at the start", f"{arguments.passages}"),
        ("written meanwhile", f"{outcome.written / took_s:.0f} a second for {took_s:.0f} s"),
        ("upkeep", ", ".join(f"{what}: {count}" for what, count in upkeep.items())),
        ("searches", f"{len(milliseconds)}, {dict(outcome.checks)} of them checked"),
        ("lost, doubled or back", f"**{len(outcome.wrong)}** {outcome.wrong[:3] or ''}"),
        (
            "a search takes",
            f"p50 {p50:.1f} ms, p90 {p90:.1f} ms, **p99 {p99:.1f} ms**, p99.9 {p999:.1f} ms",
        ),
        (
            "over 50 ms",
            f"{late} ({late / len(milliseconds):.2%}), at most {milliseconds[-1]:.0f} ms",
        ),
        (
            "cores that were busy",
            f"server {server_cores:.2f}, writer and searchers {own_cores:.2f}",
        ),
        *describe(),
    ]
    title = f"# Searches while the index is written to, {datetime.now(UTC):%Y-%m-%d}"
    return "\n".join(
        [title, "", "| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]
    )


def clusters(count: int, dimension: int, seed: int) -> Matrix:
    """Return vectors around centres, of length one: noise alone makes any graph look broken."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((max(1, count // 100), dimension))
    values = centres[chance.integers(0, len(centres), count)]
    values += 0.8 * chance.standard_normal((count, dimension))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def main() -> None:
    arguments = _arguments()
    vectors = (
        np.load(arguments.vectors, mmap_mode="r")
        if arguments.vectors
        else clusters(100_000, 384, arguments.seed)
    )
    with tempfile.TemporaryDirectory() as folder:
        options = ["--models", "none"]
        with ServerProcess(Path(folder) / "data", Path(folder) / "server.log", options) as server:
            server.wait_until_serving()
            report = asyncio.run(_measure(server, vectors, arguments))
    print(f"\n{report}")
    if arguments.write:
        write_report("live", report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vectors", type=Path, help="a matrix of embeddings; else clusters")
    parser.add_argument("--passages", type=int, default=20_000, help="before the searches begin")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="keep the report in docs/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
