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

    Every caller begins elsewhere among the requests. Answers are not decoded: that is the
    callers' cost and none of the server's.
    """
    messages = [each.SerializeToString() for each in requests]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(_ask, address, messages, callers, number * callers, seconds)
            for number in range(processes)
        ]
        results = [each.result() for each in parts]
    return Answered(
        calls_per_s=sum(each.calls_per_s for each in results),
        latencies_s=[latency for each in results for latency in each.latencies_s],
        cpu_s=sum(each.cpu_s for each in results),
    )


def _ask(
    address: str, messages: Sequence[bytes], callers: int, start: int, seconds: float
) -> Answered:
    return asyncio.run(_ask_all(address, messages, callers, start, seconds))


async def _ask_all(
    address: str, messages: Sequence[bytes], callers: int, start: int, seconds: float
) -> Answered:
    latencies_s: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        await channel.channel_ready()
        measured_from = time.perf_counter() + WARM_UP_S
        until = measured_from + seconds

        async def caller(number: int) -> None:
            step = len(messages) // callers
            first = (start + number * step) % len(messages)
            for message in cycle([*messages[first:], *messages[:first]]):
                sent = time.perf_counter()
                if sent >= until:
                    return
                await call(message)
                if sent >= measured_from:
                    latencies_s.append(time.perf_counter() - sent)

        cpu_s = sum(os.times()[:2])
        await asyncio.gather(*(caller(number) for number in range(callers)))
        cpu_s = sum(os.times()[:2]) - cpu_s
    return Answered(len(latencies_s) / seconds, latencies_s, cpu_s / (seconds + WARM_UP_S))
