"""Send calls at times set beforehand, whatever became of those before them: an open loop.

Who waits for an answer before the next call slows down with the server and hides its queue. Here
arrivals are random and seeded, and a call's latency counts from when it was to be sent. Senders are
processes of their own, so that they and the server share no interpreter.
"""

import asyncio
import math
import multiprocessing
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any, Self

import grpc.aio

from benchmarks.machine import cpu_seconds

METHOD = "/finesieve.v1.RerankService/Rerank"
TENANT_KEY = "x-benchmark-tenant"

OK = "OK"
REFUSED = "RESOURCE_EXHAUSTED"
LATE = "DEADLINE_EXCEEDED"

_READY_S = 120.0
# Every sender has its orders before the first call is due.
_LEAD_S = 0.3


@dataclass(frozen=True, slots=True)
class Phase:
    """So many calls a second for so long."""

    calls_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call that is to be sent so long after the start."""

    due_s: float
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a call. `took_s` and the sender's own lag count from when it was due."""

    due_s: float
    tenant: str
    lag_s: float
    took_s: float
    code: str


@dataclass(frozen=True, slots=True)
class _Order:
    arrivals: Sequence[Arrival]
    start: float  # time.monotonic(): one clock for all processes of a machine
    deadline_s: float
    max_missed: int


def poisson(phases: Sequence[Phase], seed: int, tenant: str = "") -> list[Arrival]:
    """Return a Poisson process's arrivals, given their number: what the rates say, rounded."""
    chance = random.Random(seed)
    due_s: list[float] = []
    began_s = 0.0
    for phase in phases:
        count = round(phase.calls_per_s * phase.seconds)
        due_s += sorted(began_s + phase.seconds * chance.random() for _ in range(count))
        began_s += phase.seconds
    return [Arrival(each, tenant) for each in due_s]


def due(sent: Iterable[Sent], since_s: float, until_s: float = math.inf) -> list[Sent]:
    """Return the calls that were due in that part of the run."""
    return [each for each in sent if since_s <= each.due_s < until_s]


def answered(sent: Iterable[Sent]) -> list[Sent]:
    """Return the calls that were answered inside their deadline."""
    return [each for each in sent if each.code == OK]


def share_in_time(sent: Sequence[Sent]) -> float:
    """Return which share was answered inside the deadline; NaN of none."""
    return len(answered(sent)) / len(sent) if sent else math.nan


def percentile(values: Iterable[float], share: float) -> float:
    """Return the least value that so large a share does not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


class Senders:
    """Processes that send calls to one server, each over its own connection."""

    def __init__(
        self, address: str, processes: int, messages: Callable[[int], Sequence[bytes]]
    ) -> None:
        """`messages` makes a sender's requests of its number, over there: a module's function."""
        context = multiprocessing.get_context("spawn")  # gRPC does not live through a fork
        self._wires: list[Connection[Any, Any]] = []
        self._processes = []
        for number in range(processes):
            here, there = context.Pipe()
            process = context.Process(
                target=_obey, args=(there, address, messages, number), daemon=True
            )
            process.start()
            self._wires.append(here)
            self._processes.append(process)

    def __enter__(self) -> Self:
        for wire in self._wires:
            if not wire.poll(_READY_S):
                raise TimeoutError(f"a sender was not ready within {_READY_S:.0f} s")
            wire.recv()
        return self

    def __exit__(self, *_: object) -> None:
        for wire, process in zip(self._wires, self._processes, strict=True):
            wire.send(None)
            process.join()

    def launch(
        self, arrivals: Sequence[Arrival], deadline_s: float, *, max_missed: int | None = None
    ) -> float:
        """Start to send; return the time.monotonic() that the arrivals count from.

        A sender that saw more than `max_missed` calls go without an answer sends no more.
        """
        start = time.monotonic() + _LEAD_S
        ordered = sorted(arrivals, key=lambda each: each.due_s)
        for number, wire in enumerate(self._wires):
            mine = ordered[number :: len(self._wires)]
            allowed = len(mine) if max_missed is None else max_missed
            wire.send(_Order(mine, start, deadline_s, allowed))
        return start

    def collect(self) -> list[Sent]:
        """Return what became of the calls, in order of when they were due."""
        sent = [each for wire in self._wires for each in wire.recv()]
        return sorted(sent, key=lambda each: each.due_s)

    def cpu_s(self) -> float:
        """Return the processor time of all senders so far."""
        return sum(cpu_seconds(process.pid) for process in self._processes if process.pid)


def _obey(
    wire: "Connection[Any, Any]",
    address: str,
    messages: Callable[[int], Sequence[bytes]],
    number: int,
) -> None:
    """The life of a sender: make its messages, then carry out orders until there are no more."""
    bodies = cycle(messages(number))
    wire.send("ready")
    while (order := wire.recv()) is not None:
        wire.send(asyncio.run(_send(order, address, bodies)))


async def _send(order: _Order, address: str, bodies: "cycle[bytes]") -> list[Sent]:
    sent: list[Sent] = []
    missed = 0

    # Refused is refused: a client that tries again would be more load than was ordered.
    options = [("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        await channel.channel_ready()
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)

        async def call(arrival: Arrival) -> None:
            nonlocal missed
            due = order.start + arrival.due_s
            lag_s = time.monotonic() - due
            metadata = ((TENANT_KEY, arrival.tenant),) if arrival.tenant else None
            try:
                await method(next(bodies), timeout=order.deadline_s - lag_s, metadata=metadata)
                code = OK
            except grpc.aio.AioRpcError as error:
                code = error.code().name
            took_s = time.monotonic() - due
            if code == OK and took_s > order.deadline_s:
                code = LATE
            missed += code != OK
            sent.append(Sent(arrival.due_s, arrival.tenant, lag_s, took_s, code))

        async with asyncio.TaskGroup() as calls:
            for arrival in order.arrivals:
                await asyncio.sleep(order.start + arrival.due_s - time.monotonic())
                if missed > order.max_missed:
                    break
                calls.create_task(call(arrival))
    return sent
