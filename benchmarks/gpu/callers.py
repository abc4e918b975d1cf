"""Ask the server from several processes at once, cheaply: requests are written beforehand."""

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from multiprocessing import get_context

import grpc.aio

from finesieve.v1 import rerank_pb2

_METHOD = "/finesieve.v1.RerankService/Rerank"
WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Answered:
    """Calls that were answered within the measured time."""

    calls_per_s: float
    latencies_s: Sequence[float]
    cpu_s: float  # of the callers, by the second


def ask(
    address: str,
    requests: Sequence[rerank_pb2.RerankRequest],
    *,
    processes: int,
    callers: int,
    seconds: float,
) -> Answered:
    """Have `callers` in each process ask, each with one call at a time, again and again.

    Every caller has requests of its own: pairs that two ask for at once are scored once, also by
    a server that keeps no scores, and would count twice. Answers are not decoded: that is the
    callers' cost and none of the server's.
    """
    hands = dealt([each.SerializeToString() for each in requests], processes * callers)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(_ask, address, hands[number * callers : (number + 1) * callers], seconds)
            for number in range(processes)
        ]
        results = [each.result() for each in parts]
    return Answered(
        calls_per_s=sum(each.calls_per_s for each in results),
        latencies_s=[latency for each in results for latency in each.latencies_s],
        cpu_s=sum(each.cpu_s for each in results),
    )


def dealt(messages: Sequence[bytes], callers: int) -> list[Sequence[bytes]]:
    """Return each caller's messages; no message is in two hands."""
    different = len(set(messages))
    if different < max(callers, len(messages)):
        raise ValueError(
            f"{len(messages)} requests, {different} of them different; {callers} callers need "
            "as many, all different"
        )
    return [messages[number::callers] for number in range(callers)]


def _ask(address: str, hands: Sequence[Sequence[bytes]], seconds: float) -> Answered:
    return asyncio.run(_ask_all(address, hands, seconds))


async def _ask_all(address: str, hands: Sequence[Sequence[bytes]], seconds: float) -> Answered:
    latencies_s: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        await channel.channel_ready()
        measured_from = time.perf_counter() + WARM_UP_S
        until = measured_from + seconds

        async def caller(messages: Sequence[bytes]) -> None:
            for message in cycle(messages):
                sent = time.perf_counter()
                if sent >= until:
                    return
                await call(message)
                if sent >= measured_from:
                    latencies_s.append(time.perf_counter() - sent)

        cpu_s = sum(os.times()[:2])
        await asyncio.gather(*map(caller, hands))
        cpu_s = sum(os.times()[:2]) - cpu_s
    return Answered(len(latencies_s) / seconds, latencies_s, cpu_s / (seconds + WARM_UP_S))
