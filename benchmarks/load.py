"""Offer calls to an engine in a closed or an open loop, and measure what becomes of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.machine import cpu_seconds
from benchmarks.open_loop import Phase, poisson
from benchmarks.peers.peer import THREADS, Peer, Unavailable
from benchmarks.workload import RerankCall


@dataclass(frozen=True, slots=True)
class Load:
    """What became of one round of calls."""

    pairs: int
    seconds: float  # until the last answer
    latencies_s: list[float]
    cpu_share: float  # the engine's, of all cores
    client_cpu_share: float
    failures: Sequence[str] = ()  # why, of each call that got no answer

    @property
    def pairs_per_s(self) -> float:
        return self.pairs / self.seconds


async def closed_loop(peer: Peer, calls: Sequence[RerankCall], callers: int) -> Load:
    """Have so many callers ask, each with one call at a time, until all calls are answered.

    Raises Unavailable where one is not: what is left would be another load.
    """
    waiting = iter(calls)
    latencies_s: list[float] = []
    failures: list[Unavailable] = []

    async def caller() -> None:
        for call in waiting:
            if failures:
                return
            sent = time.perf_counter()
            try:
                await peer.rerank(call)
            except Unavailable as failure:
                failures.append(failure)
            latencies_s.append(time.perf_counter() - sent)

    async def ask() -> None:
        await asyncio.gather(*(caller() for _ in range(callers)))
        if failures:
            raise failures[0]

    return await _measured(peer, calls, latencies_s, ask)


async def open_loop(peer: Peer, calls: Sequence[RerankCall], rate: float, seed: int) -> Load:
    """Send `rate` calls a second, at random, whatever became of those before (Poisson).

    A latency counts from when the call was meant to be sent, so that a client that falls behind
    cannot hide it. Calls without an answer have no latency; why is kept.
    """
    arrivals = poisson([Phase(rate, len(calls) / rate)], seed)
    latencies_s: list[float] = []
    failures: list[str] = []

    async def send(call: RerankCall, due: float) -> None:
        try:
            await peer.rerank(call)
        except Unavailable as failure:
            failures.append(str(failure))
        else:
            latencies_s.append(time.perf_counter() - due)

    async def arrive() -> None:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for call, arrival in zip(calls, arrivals, strict=True):
                due = started + arrival.due_s
                await asyncio.sleep(due - time.perf_counter())
                tasks.create_task(send(call, due))

    load = await _measured(peer, calls, latencies_s, arrive)
    return replace(load, failures=failures)


async def _measured(
    peer: Peer,
    calls: Sequence[RerankCall],
    latencies_s: list[float],
    ask: Callable[[], Awaitable[object]],
) -> Load:
    engine_s, client_s, started = _cpu_seconds(peer), time.process_time(), time.perf_counter()
    await ask()
    seconds = time.perf_counter() - started
    return Load(
        pairs=sum(len(call.documents) for call in calls),
        seconds=seconds,
        latencies_s=latencies_s,
        cpu_share=(_cpu_seconds(peer) - engine_s) / seconds / THREADS,
        client_cpu_share=(time.process_time() - client_s) / seconds / THREADS,
    )


def _cpu_seconds(peer: Peer) -> float:
    try:
        return cpu_seconds(peer.pid)
    except FileNotFoundError:
        raise Unavailable("ended while it was measured") from None
