"""The queue between callers and devices: who is let in, and where each row goes.

What goes next is `plan.py`'s to say; here is the lock around it. An item whose twin, one of the
same key, is on a device already does not queue: that row is its own as well.
"""

import asyncio
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate

from finesieve_server.batching.cost import CostModel
from finesieve_server.batching.plan import Batch, Item, Job, Priority, WaitingWork
from finesieve_server.batching.reserve import Reserve
from finesieve_server.batching.work import Row, Work
from finesieve_server.errors import DeadlineTooShort, Overloaded
from finesieve_server.telemetry import Metrics

# Who comes back sooner finds the same batch running, and has used up one of a client's few tries.
_LEAST_RETRY_S = 0.05


@dataclass(slots=True, eq=False)
class Caller:
    """One caller's work, and what has come of it."""

    work: Work
    arrived: float
    finished: asyncio.Future[None]
    rows: list[Row] = field(init=False)
    shared: int = 0
    outstanding: int = 0  # rows that may still come
    job: Job | None = None  # what had to queue
    positions: Sequence[int] = ()  # of the job's items in the work
    taken: int = 0  # of the job's items, into batches
    first_started: float | None = None

    def __post_init__(self) -> None:
        self.rows = [None] * len(self.work.items)

    def key(self, position: int) -> bytes | None:
        return None if self.work.keys is None else self.work.keys[position]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row goes."""

    caller: Caller
    position: int


@dataclass(frozen=True, slots=True)
class Started:
    """A batch that runs, and for each row the places that it goes to; twins that come may join."""

    batch: Batch
    payloads: Sequence[Sized]
    places: Sequence[list[Place]]


class SharedQueue:
    """All work of all callers, under one plan and one lock."""

    def __init__(
        self,
        waiting: WaitingWork,
        costs: Mapping[str, CostModel],
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._waiting = waiting
        self._costs = costs
        self._metrics = metrics
        self._clock = clock
        self._callers: dict[Job, Caller] = {}
        self._preparing_s: dict[Job, float] = {}
        self._reserve = Reserve()
        # The places of each row that is on a device, by its key if it has one.
        self._running: dict[bytes | None, list[Place]] = {}
        self._changed = threading.Condition()
        self._closing = False

    def enter(self, caller: Caller, positions: Sequence[int]) -> None:
        """Queue the items at these positions of the caller's work, or find them a place.

        Raises Overloaded where the queue is full or too long for the deadline, DeadlineTooShort
        where not even an idle device could keep it.
        """
        with self._changed:
            running = {at: self._running.get(caller.key(at)) for at in positions}
            queued = self._in_time(caller.work, [at for at in positions if not running[at]])
            if queued:
                job = _job(caller.work, queued)
                self._admit(job)
                if not job.partial:
                    self._reserve.observe(refused=False)
                caller.job, caller.positions = job, queued
                self._callers[job] = caller
                self._metrics.waiting_tokens.set(self._waiting.tokens)
                self._changed.notify()
            caller.outstanding = len(queued)
            for at, places in running.items():
                if places:
                    places.append(Place(caller, at))
                    caller.outstanding += 1
                    caller.first_started = caller.arrived

    @contextmanager
    def room_for(self, job: Job) -> Iterator[None]:
        """Hold room for work while it is prepared.

        Raises Overloaded where `enter` would, with what the others prepare counted as waiting: or
        all would be let in to prepare while nothing waits yet, and come too late together.
        """
        if not job.lengths:
            yield  # there is nothing to run
            return
        with self._changed:
            self._admit(job, list(self._preparing_s))
            needs_s = job.waiting_s
            self._waiting.remove(job)
            self._preparing_s[job] = needs_s
        try:
            yield
        finally:
            with self._changed:
                del self._preparing_s[job]

    def leave(self, caller: Caller) -> None:
        """Forget a caller, and take what has not started of its work out of the queue."""
        if caller.job is None:
            return
        with self._changed:
            self._waiting.remove(caller.job)
            del self._callers[caller.job]
            self._metrics.waiting_tokens.set(self._waiting.tokens)

    def next_batch(self, give_up: Callable[[Caller, int], None]) -> Started | None:
        """Return what goes next, once there is something; None once the queue is closed.

        `give_up` is told of callers whose last so many items can no longer be done in time.
        """
        with self._changed:
            while not self._closing:
                now = self._clock()
                for job in self._waiting.give_up(now):
                    caller = self._callers[job]
                    give_up(caller, len(job.lengths) - caller.taken)
                batch = self._waiting.take_batch(now)
                if batch is not None:
                    if self._waiting.tokens:
                        self._changed.notify()  # one wakes the next: never all for little
                    return self._start(batch, now)
                self._changed.wait()
        return None

    def is_wanted(self, started: Started, row: int) -> bool:
        """Does anybody still wait for that row, with time left? If not, nobody can any more."""
        now = self._clock()
        with self._changed:
            for place in started.places[row]:
                caller = place.caller
                if not caller.finished.done() and now < caller.work.deadline:
                    return True
            self._finish(started, row)
        return False

    def finish(self, started: Started) -> None:
        """Take the batch as run: nobody gets a place in it any more."""
        with self._changed:
            for row in range(len(started.places)):
                self._finish(started, row)

    def close(self) -> None:
        """Let `next_batch` return None from now on."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _in_time(self, work: Work, positions: Sequence[int]) -> Sequence[int]:
        """Return those of the positions that idle devices could do by the deadline.

        Raises DeadlineTooShort where these are not all, and all are wanted.
        """
        left_s = work.deadline - self._clock()
        least_row_s = self._costs[work.model].least_row_s
        rows_s = [least_row_s(len(work.items[at])) for at in positions]
        # By all devices together; an item is not divided.
        done_s = [
            max(longest_s, sum_s / self._waiting.devices)
            for longest_s, sum_s in zip(accumulate(rows_s, max), accumulate(rows_s), strict=True)
        ]
        in_time = bisect_right(done_s, left_s)
        if in_time < len(positions) and not work.partial:
            raise DeadlineTooShort(done_s[-1], left_s)
        return positions[:in_time]

    def _prepared_before_s(self, job: Job) -> float:
        """Return the seconds of what is prepared before this job: other tenants' by turns.

        Bulk work hardly delays a person.
        """
        by_line: defaultdict[tuple[str, Priority], float] = defaultdict(float)
        for each, seconds in self._preparing_s.items():
            if each.priority is Priority.INTERACTIVE or job.priority is Priority.BULK:
                by_line[each.tenant, each.priority] += seconds
        own_s = by_line.pop((job.tenant, job.priority), 0.0)
        turn_s = own_s + sum(map(self._costs[job.model].row_s, job.lengths))
        return own_s + sum(min(seconds, turn_s) for seconds in by_line.values())

    def _admit(self, job: Job, prepared: Sequence[Job] = ()) -> None:
        """Add the job to what waits; what is prepared counts as waiting already.

        Raises Overloaded: where nothing waits and nothing is prepared, never.
        """
        now = self._clock()
        waiting = self._waiting.tokens + sum(sum(each.lengths) for each in prepared)
        if excess := self._waiting.excess(job, prepared):
            # As long as it takes to work off what is too much.
            retry_s = self._waiting.work_s(now) * min(1.0, excess / waiting)
            raise _overloaded(f"the queue is full: {waiting} tokens wait", retry_s)
        before_s = self._prepared_before_s(job) if prepared else 0.0
        self._waiting.add(job, now)
        latest = job.deadline - self._reserve.share * (job.deadline - now)
        late_s = now + self._waiting.finish_s(job, now, before_s) - latest
        if waiting and late_s > 0 and not job.partial:
            self._waiting.remove(job)
            self._reserve.observe(refused=True)
            raise _overloaded(f"with what goes before, this would be {late_s:.1f} s late", late_s)

    def _finish(self, started: Started, row: int) -> None:
        key = started.batch.items[row].key
        if self._running.get(key) is started.places[row]:
            del self._running[key]

    def _start(self, batch: Batch, now: float) -> Started:
        places = [[self._place(item, now)] for item in batch.items]
        for item, here in zip(batch.items, places, strict=True):
            if item.key is not None:
                self._running[item.key] = here
        for twin in batch.twins:
            self._running[twin.key].append(self._place(twin, now))
        self._metrics.waiting_tokens.set(self._waiting.tokens)
        return Started(batch, list(map(self._payload, batch.items)), places)

    def _place(self, item: Item, now: float) -> Place:
        caller = self._callers[item.job]
        caller.taken += 1
        if caller.first_started is None:
            caller.first_started = now
            self._metrics.queue_seconds.labels(item.job.model).observe(now - caller.arrived)
        return Place(caller, caller.positions[item.index])

    def _payload(self, item: Item) -> Sized:
        caller = self._callers[item.job]
        return caller.work.items[caller.positions[item.index]]


def _overloaded(problem: str, retry_s: float) -> Overloaded:
    return Overloaded(problem, retry_after_s=max(retry_s, _LEAST_RETRY_S))


def _job(work: Work, positions: Sequence[int]) -> Job:
    return Job(
        work.model,
        [len(work.items[at]) for at in positions],
        work.deadline,
        work.priority,
        work.partial,
        work.tenant,
        work.keys and [work.keys[at] for at in positions],
    )
