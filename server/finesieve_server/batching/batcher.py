"""Answer callers: from the scores that are kept, or from the devices, in batches.

Who is let in and what is shared is `shared_queue.py`'s to say, what goes next `plan.py`'s. Here are
the threads that run it, and the way back to each caller.
"""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import chain

import numpy as np

from finesieve_server.batching.cost import CostModel
from finesieve_server.batching.plan import BatchLimits, Job, Priority, WaitingWork
from finesieve_server.batching.runner import Model, Runner
from finesieve_server.batching.score_cache import ScoreCache
from finesieve_server.batching.shared_queue import Caller, SharedQueue, Started
from finesieve_server.batching.work import Done, Row, Work
from finesieve_server.errors import DeadlineExceeded
from finesieve_server.telemetry import Metrics


class Batcher:
    """Every device, all callers and all models under one queue."""

    def __init__(
        self,
        devices: Sequence[Mapping[str, Model]],
        limits: BatchLimits,
        *,
        in_flight: int = 1,
        score_cache_bytes: int,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Give the same models for each device; each runs `in_flight` batches at a time.

        What runs one batch beside others at the same speed is a device: a card, or a CPU's core.
        """
        self._runners = [Runner(models, metrics, clock, in_flight) for models in devices]
        self._models = list(devices[0])
        self._limits = limits
        self._in_flight = in_flight
        self._scores = ScoreCache(score_cache_bytes)
        self._metrics = metrics
        self._clock = clock
        self._costs: dict[str, CostModel] = {}
        self._threads: list[threading.Thread] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Learn what each model costs, then take work. Answers go to `loop`. Takes a second.

        Raises ModelFailure where a model cannot run what the limits allow.
        """
        self._loop = loop
        self._costs = {name: self._cost_of(name) for name in self._models}
        waiting = WaitingWork(self._costs, self._limits, len(self._runners))
        self._queue = SharedQueue(waiting, self._costs, self._metrics, self._clock)
        self._threads = [
            threading.Thread(
                target=self._work, args=(runner,), name=f"device-{number}", daemon=True
            )
            for number, runner in enumerate(self._runners)
            for _ in range(self._in_flight)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop once the batches that run are done. What still waits is not answered."""
        if self._threads:
            self._queue.close()
        for thread in self._threads:
            thread.join()

    async def run(self, work: Work) -> Done:
        """Return the model's answer to every item.

        Raises Overloaded where the queue is full or too long for the deadline, DeadlineTooShort
        where not even an idle device could keep it, DeadlineExceeded where it passed meanwhile.
        A partial work is answered by its deadline with what there is.
        Cancelling takes what has not started out of the queue.
        """
        caller = Caller(work, self._clock(), self._loop.create_future())
        unknown = self._recall(caller)
        if unknown:
            self._queue.enter(caller, unknown)
        try:
            if caller.outstanding:
                async with asyncio.timeout(work.deadline - self._clock()):
                    await caller.finished
        except TimeoutError:
            if not work.partial:
                raise DeadlineExceeded("the deadline passed while the work waited") from None
        finally:
            self._queue.leave(caller)
        started = caller.first_started
        if started is None:
            started = self._clock() if unknown else caller.arrived
        return Done(tuple(caller.rows), started - caller.arrived, caller.shared)

    def room_for(
        self,
        model: str,
        lengths: Sequence[int],
        deadline: float,
        priority: Priority = Priority.INTERACTIVE,
        partial: bool = False,
        tenant: str = "default",
    ) -> AbstractContextManager[None]:
        """Hold room for work of about these lengths while it is prepared, at a cost.

        Raises Overloaded where it would be refused; never where nothing waits or is prepared.
        """
        return self._queue.room_for(Job(model, lengths, deadline, priority, partial, tenant))

    def _cost_of(self, model: str) -> CostModel:
        # All devices at once, as they will work: cores share caches.
        with ThreadPoolExecutor(len(self._runners)) as threads:
            samples = threads.map(lambda each: each.warm_up(model, self._limits), self._runners)
            return CostModel(list(chain.from_iterable(samples)))

    def _recall(self, caller: Caller) -> list[int]:
        """Answer what is known; return the positions of the rest."""
        unknown = []
        for position in range(len(caller.rows)):
            key = caller.key(position)
            score = None if key is None else self._scores.get(key)
            if score is None:
                unknown.append(position)
            else:
                caller.rows[position] = score
        caller.shared = len(caller.rows) - len(unknown)
        if caller.work.keys is not None and self._scores.max_entries:
            self._metrics.score_cache_hits.inc(caller.shared)
            self._metrics.score_cache_misses.inc(len(unknown))
        return unknown

    def _work(self, runner: Runner) -> None:
        """The life of a device's thread: take a batch, run it, hand the rows back."""
        while (started := self._queue.next_batch(self._give_up_soon)) is not None:
            batch, payloads = started.batch, started.payloads
            is_wanted = functools.partial(self._queue.is_wanted, started)
            rows = runner.run(batch, payloads, self._costs[batch.model], is_wanted)
            self._loop.call_soon_threadsafe(self._deliver, started, rows)

    def _deliver(self, started: Started, rows: Sequence[Row]) -> None:
        self._queue.finish(started)
        for item, places, row in zip(started.batch.items, started.places, rows, strict=True):
            if row is None:
                continue  # its callers left, or their deadlines are here
            if item.key is not None and isinstance(row, np.float32):
                self._scores.put(item.key, row)
            for twins, place in enumerate(places):
                place.caller.rows[place.position] = row
                place.caller.shared += twins > 0
                _count_down(place.caller, 1)
        self._metrics.score_cache_entries.set(len(self._scores))

    def _give_up_soon(self, caller: Caller, items: int) -> None:
        self._loop.call_soon_threadsafe(_give_up, caller, items)


def _give_up(caller: Caller, items: int) -> None:
    if caller.work.partial:
        _count_down(caller, items)
    elif not caller.finished.done():
        caller.finished.set_exception(
            DeadlineExceeded("the deadline would pass before the work is done")
        )


def _count_down(caller: Caller, rows: int) -> None:
    caller.outstanding -= rows
    if caller.outstanding == 0 and not caller.finished.done():
        caller.finished.set_result(None)
