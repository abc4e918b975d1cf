"""Calls without end: the server's memory does not grow with how many there were."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import grpc

from finesieve.v1 import rerank_pb2
from tests.conftest import StartServer
from tests.e2e.gauges import memory_bytes, nothing_is_left_inside
from tests.e2e.requests import MIB, RERANK, rerank
from tests.server.rpc.wire import Wire

CALLERS = 64
CANCELLED, BAD = 0.20, 0.05
MAX_GROWTH_BYTES = 8 * MIB


class Callers:
    """Callers who call again as soon as they are answered; some cancel, some ask nonsense.

    They cancel at any moment of a call's life.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._chance = random.Random(7)
        self._called = 0
        self._typical_s = 0.0
        self.outcomes: Counter[tuple[str, grpc.StatusCode]] = Counter()

    async def make(self, calls: int) -> None:
        """Make so many calls in all."""
        left = iter(range(calls))
        await asyncio.gather(*(self._caller(left) for _ in range(CALLERS)))

    async def _caller(self, left: Iterator[int]) -> None:
        for _ in left:
            self._called += 1
            chance = self._chance.random()
            if chance < CANCELLED:
                await self._cancel_one()
            elif chance < CANCELLED + BAD:
                path, content = self._nonsense()
                outcome = await self._wire.call(path, content)
                self.outcomes["bad", outcome.code] += 1
            else:
                started = time.monotonic()
                outcome = await self._wire.call(RERANK, self._request())
                self.outcomes["good", outcome.code] += 1
                self._typical_s += 0.01 * (time.monotonic() - started - self._typical_s)

    async def _cancel_one(self) -> None:
        call = self._wire.start(RERANK, self._request())
        await asyncio.sleep(self._chance.uniform(0, self._typical_s))
        call.cancel()
        self.outcomes["cancelled", await call.code()] += 1

    def _request(self) -> rerank_pb2.RerankRequest:
        """Return a request that nobody has made before: no cache has its score."""
        return rerank("Where do eels go?", f"{self._called} eels")

    def _nonsense(self) -> tuple[str, bytes]:
        never_heard_of = f"model-{self._called}"
        other_model = rerank("eels", "eels", options={"model": never_heard_of})
        return self._chance.choice(
            (
                (RERANK, b"\xff\xff\xff"),
                (RERANK, rerank("", "no query").SerializeToString()),
                (RERANK, other_model.SerializeToString()),
                (f"/finesieve.v1.RerankService/{never_heard_of}", b""),
            )
        )


async def fill_score_cache(wire: Wire) -> None:
    """Have more pairs scored than a mebibyte has room for."""
    for at in range(4):
        texts = [f"{at * 1_000 + number} herrings" for number in range(1_000)]
        await wire.ask(RERANK, rerank("Where?", *texts), rerank_pb2.RerankResponse)


async def test_memory_does_not_grow_with_the_number_of_calls(
    start_server: StartServer,
    tmp_path: Path,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    calls = repetitions(3_000, 1_000_000)
    share = max(200, calls // 100)
    server = start_server("--score-cache-mib", "1")
    memory: list[int] = []
    async with Wire(server.address) as wire:
        await fill_score_cache(wire)
        callers = Callers(wire)
        with (tmp_path / "memory.csv").open("w", buffering=1) as samples:
            for made in range(share, calls + 1, share):
                await callers.make(share)
                memory.append(memory_bytes(server))
                samples.write(f"{made},{memory[-1]}\n")
                os.truncate(server.log_path, 0)  # a line a call: a million would fill the disk
        await nothing_is_left_inside(server)

    assert {code for kind, code in callers.outcomes if kind == "good"} == {grpc.StatusCode.OK}
    assert {code for kind, code in callers.outcomes if kind == "bad"} == {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
    }
    assert callers.outcomes["cancelled", grpc.StatusCode.CANCELLED] > 0.1 * calls
    window = len(memory) // 10
    half = len(memory) // 2
    growth = median(memory[-window:]) - median(memory[half : half + window])
    report(f"{memory[-1] / MIB:.1f} MiB, {growth / MIB:+.1f} MiB over the last half")
    assert growth <= MAX_GROWTH_BYTES, [each // MIB for each in memory]
