"""Run waiting work on the device, one batch at a time, all under one plan.

What goes next is `plan.py`'s to say; what a batch costs, `cost.py`'s. Here are the clock, the
thread, and the way back to each caller.
"""

import asyncio
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from finesieve_server.batching.cost import CostModel, Sample
from finesieve_server.batching.plan import Batch, BatchLimits, Job, Priority, WaitingWork
from finesieve_server.errors import (
    DeadlineExceeded,
    DeadlineTooShort,
    ModelFailure,
    Overloaded,
)
from finesieve_server.telemetry import Metrics

# What came of one item: the model's output, its failure, or None where the deadline came first.
Row = NDArray[np.float32] | np.float32 | ModelFailure | None

_log = structlog.get_logger()
# (rows, tokens): few and many, short and long. The best of some runs, as others disturb them.
_WARM_UP_SHAPES = ((1, 16), (4, 16), (1, 64), (4, 64), (1, 128), (4, 128), (1, 256))
_WARM_UP_RUNS = 3


class Model(Protocol):
    """What the device runs."""

    @property
    def max_tokens(self) -> int: ...

    def run(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        """Return one row a member."""
        ...

    def example(self, tokens: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What one caller wants of one model, in its order of preference."""

    model: str
    items: Sequence[Sized]  # each as long as it has tokens
    deadline: float  # time.monotonic()
    priority: Priority = Priority.INTERACTIVE
    partial: bool = False
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class Done:
    """One row an item, in the order of the work; None only in a partial work.

    `queue_s` is the time until the first batch started.
    """

    rows: Sequence[Row]
    queue_s: float


@dataclass(slots=True, eq=False)
class _Caller:
    """Where the answers of one job go."""

    work: Work
    rows: list[Row]
    finished: asyncio.Future[None]
    arrived: float
    first_started: float | None = None
    unanswered: int = 0

    def settle(self, error: Exception | None = None) -> None:
        if self.finished.done():
            return
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)


class Batcher:
    """One device's queue, for all callers and all models."""

    def __init__(
        self,
        models: Mapping[str, Model],
        limits: BatchLimits,
        *,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._costs: dict[str, CostModel] = {}
        self._waiting = WaitingWork({}, limits)
        self._callers: dict[Job, _Caller] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._device = threading.Thread(target=self._work, name="device", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Learn what each model costs, then take work. Answers go to `loop`. Takes a second."""
        self._loop = loop
        self._costs = {name: self._warm_up(model) for name, model in self._models.items()}
        self._waiting = WaitingWork(self._costs, self._limits)
        self._device.start()

    def close(self) -> None:
        """Stop once the batch that runs is done. What still waits is not answered."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._device.ident is not None:
            self._device.join()

    async def run(self, work: Work) -> Done:
        """Return the model's answer to every item.

        Raises Overloaded where the queue is full or too long for the deadline, DeadlineTooShort
        where not even an idle device could keep it, DeadlineExceeded where it passed meanwhile.
        A partial work is answered by its deadline with what there is.
        Cancelling takes what has not started out of the queue.
        """
        lengths = self._in_time(work)
        if not lengths:
            return Done((None,) * len(work.items), 0.0)
        job = Job(work.model, lengths, work.deadline, work.priority, work.partial, work.tenant)
        caller = self._admit(job, work)
        try:
            async with asyncio.timeout(work.deadline - self._clock()):
                await caller.finished
        except TimeoutError:
            if not work.partial:
                raise DeadlineExceeded("the deadline passed while the work waited") from None
        finally:
            self._leave(job)
        started = caller.first_started
        queue_s = (self._clock() if started is None else started) - caller.arrived
        return Done(tuple(caller.rows), queue_s)

    def _in_time(self, work: Work) -> list[int]:
        """Return the lengths of the items that an idle device could do by the deadline.

        Raises DeadlineTooShort where these are not all, and all are wanted.
        """
        left_s = work.deadline - self._clock()
        lengths = [len(item) for item in work.items]
        done_s = list(accumulate(map(self._costs[work.model].least_row_s, lengths)))
        in_time = bisect_right(done_s, left_s)
        if in_time < len(lengths) and not work.partial:
            raise DeadlineTooShort(done_s[-1], left_s)
        return lengths[:in_time]

    def _admit(self, job: Job, work: Work) -> _Caller:
        now = self._clock()
        with self._changed:
            waiting = self._waiting.tokens
            if not self._waiting.has_room(job):
                raise Overloaded(
                    f"the queue is full: {waiting} tokens wait",
                    retry_after_s=self._waiting.work_s(now) / 2,
                )
            self._waiting.add(job, now)
            late_s = now + self._waiting.finish_s(job, now) - job.deadline
            if waiting and late_s > 0 and not job.partial:
                self._waiting.remove(job)
                raise Overloaded(
                    f"with what goes before, this would be {late_s:.1f} s late",
                    retry_after_s=late_s,
                )
            caller = _Caller(
                work,
                rows=[None] * len(work.items),
                finished=self._loop.create_future(),
                arrived=now,
                unanswered=len(job.lengths),
            )
            self._callers[job] = caller
            self._metrics.waiting_tokens.set(self._waiting.tokens)
            self._changed.notify()
        return caller

    def _leave(self, job: Job) -> None:
        with self._changed:
            self._waiting.remove(job)
            del self._callers[job]
            self._metrics.waiting_tokens.set(self._waiting.tokens)

    def _work(self) -> None:
        """The life of the device thread: take a batch, run it, hand the rows back."""
        while (taken := self._next_batch()) is not None:
            batch, payloads = taken
            rows = self._run(batch, payloads)
            self._loop.call_soon_threadsafe(self._deliver, batch, rows)

    def _next_batch(self) -> tuple[Batch, list[Sized]] | None:
        with self._changed:
            while not self._closing:
                now = self._clock()
                for job in self._waiting.give_up(now):
                    self._loop.call_soon_threadsafe(self._give_up, self._callers[job])
                batch = self._waiting.take_batch(now)
                if batch is not None:
                    return batch, self._payloads(batch, now)
                self._changed.wait()
        return None

    def _payloads(self, batch: Batch, now: float) -> list[Sized]:
        payloads: list[Sized] = []
        for item in batch.items:
            caller = self._callers[item.job]
            if caller.first_started is None:
                caller.first_started = now
                self._metrics.queue_seconds.labels(batch.model).observe(now - caller.arrived)
            payloads.append(caller.work.items[item.index])
        self._metrics.waiting_tokens.set(self._waiting.tokens)
        return payloads

    def _run(self, batch: Batch, payloads: list[Sized]) -> list[Row]:
        model = self._models[batch.model]
        started = self._clock()
        try:
            rows = _usable(model.run(payloads))
        except Exception:  # noqa: BLE001 - whatever a model does, the queue goes on
            _log.exception("batch failed", model=batch.model, items=len(payloads))
            # One item may have spoilt it for all: each gets its own chance.
            return [_alone(model, payload) for payload in payloads]
        took_s = self._clock() - started
        padded_tokens = len(batch.items) * batch.longest
        self._costs[batch.model].observe(Sample(len(batch.items), batch.longest, took_s))
        self._metrics.batch_seconds.labels(batch.model).observe(took_s)
        self._metrics.batch_tokens.labels(batch.model).observe(padded_tokens)
        self._metrics.tokens.labels(batch.model, "text").inc(batch.tokens)
        self._metrics.tokens.labels(batch.model, "padding").inc(padded_tokens - batch.tokens)
        return rows

    def _deliver(self, batch: Batch, rows: Sequence[Row]) -> None:
        for item, row in zip(batch.items, rows, strict=True):
            caller = self._callers.get(item.job)
            if caller is None:  # it left while its item ran
                continue
            caller.rows[item.index] = row
            caller.unanswered -= 1
            if caller.unanswered == 0:
                caller.settle()

    def _give_up(self, caller: _Caller) -> None:
        if caller.work.partial:
            caller.settle()
        else:
            caller.settle(DeadlineExceeded("the deadline would pass before the work is done"))

    def _warm_up(self, model: Model) -> CostModel:
        shapes = {(rows, min(tokens, model.max_tokens)) for rows, tokens in _WARM_UP_SHAPES}
        return CostModel(
            [Sample(rows, tokens, min(self._time(model, rows, tokens))) for rows, tokens in shapes]
        )

    def _time(self, model: Model, rows: int, tokens: int) -> Iterator[float]:
        batch = [model.example(tokens)] * rows
        model.run(batch)  # allocates
        for _ in range(_WARM_UP_RUNS):
            started = self._clock()
            model.run(batch)
            yield self._clock() - started


def _usable(rows: NDArray[np.float32]) -> list[Row]:
    finite = [bool(np.isfinite(row).all()) for row in rows]
    return [
        row if ok else ModelFailure("the model gave a value that is not finite")
        for row, ok in zip(rows, finite, strict=True)
    ]


def _alone(model: Model, payload: Sized) -> Row:
    try:
        [row] = _usable(model.run([payload]))
    except Exception:  # noqa: BLE001 - as above
        _log.exception("item failed", tokens=len(payload))
        return ModelFailure("the model failed on this input")
    return row
