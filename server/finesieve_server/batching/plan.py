"""Decide which waiting work forms the next batch. No clock, no I/O, no threads.

The rule, whole:

1. Work that can no longer be finished in time is given up before it costs anything.
2. The job that is due first leads. A job is due at its deadline, or sooner: after some times as
   long as it takes alone, so that everyone waits in proportion to what they ask for, and a query's
   embedding does not queue behind a thousand pairs. Bulk work is due later. But a job that is all
   or nothing, with no more time left than it needs, goes before all that have.
3. Its longest item starts the batch, and the nearest lengths of any job of that model join, each
   as long as its padding costs less than a batch of its own would.
4. A job that may be answered in part, and may not be done in time, gives its items in its own
   order instead, so that what is scored by its deadline is its best part.
"""

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from operator import attrgetter
from typing import Protocol

# Predictions leave out padding and what arrives meanwhile. A job leads when it has this many times
# what it needs left, and a partial one is safe to be batched by length when it has that many.
_LAST_MOMENT = 1.25
_SAFE = 2.0
_PLACE = attrgetter("place")


class Priority(Enum):
    """Who waits: a person, or a load job."""

    INTERACTIVE = 1
    BULK = 2


class Cost(Protocol):
    """What a batch of one model takes: a fixed part, and a part for every padded row."""

    @property
    def fixed_s(self) -> float: ...
    def row_s(self, tokens: int) -> float: ...
    def least_row_s(self, tokens: int) -> float: ...
    def batch_s(self, rows: int, tokens: int) -> float: ...


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The largest batch: in padded tokens, and in predicted seconds.

    The second bounds how long an urgent newcomer waits for the batch that runs. A single item
    larger than either still runs, alone.
    """

    max_tokens: int
    max_s: float
    # A job is due once it has waited this many times as long as it takes, if not before.
    stretch: float = 10.0
    # A bulk job is due this much later.
    bulk_patience_s: float = 10.0


@dataclass(slots=True, eq=False)
class Job:
    """The items of one model that one caller waits for, in the caller's order of preference."""

    model: str
    lengths: Sequence[int]  # tokens of each item
    deadline: float
    priority: Priority = Priority.INTERACTIVE
    # May be answered with some items undone; otherwise all or nothing.
    partial: bool = False
    tenant: str = "default"
    waiting: dict[int, "Item"] = field(default_factory=dict, init=False)  # by position, in order
    waiting_s: float = field(default=0.0, init=False)  # what they are predicted to take
    least_s: float = field(default=0.0, init=False)  # and on an idle device
    due: float = field(default=0.0, init=False)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One text or pair of a job."""

    job: Job
    index: int
    tokens: int
    row_s: float  # predicted when it arrived
    least_s: float
    place: tuple[int, int]  # by tokens, then first come, first served


@dataclass(frozen=True, slots=True)
class Batch:
    """Items of one model to be run together, padded to the longest."""

    model: str
    items: Sequence[Item]

    @property
    def tokens(self) -> int:
        return sum(item.tokens for item in self.items)

    @property
    def longest(self) -> int:
        return max(item.tokens for item in self.items)


class WaitingWork:
    """All work that has not started, and the next batch of it."""

    def __init__(self, costs: Mapping[str, Cost], limits: BatchLimits) -> None:
        self._costs = costs
        self._limits = limits
        self._jobs: dict[Job, None] = {}  # in order of arrival
        self._by_length: dict[str, list[Item]] = {model: [] for model in costs}
        self._arrivals = count()
        self.tokens = 0

    def work_s(self, now: float) -> float:
        """Seconds that the waiting work is predicted to take."""
        return sum(_takes_s(job, now) for job in self._jobs)

    def add(self, job: Job, now: float) -> None:
        cost = self._costs[job.model]
        for index, tokens in enumerate(job.lengths):
            place = tokens, next(self._arrivals)
            job.waiting[index] = Item(
                job, index, tokens, cost.row_s(tokens), cost.least_row_s(tokens), place
            )
        items = job.waiting.values()
        job.waiting_s = sum(item.row_s for item in items)
        job.least_s = sum(item.least_s for item in items)
        job.due = min(job.deadline, now + self._limits.stretch * job.waiting_s)
        if job.priority is Priority.BULK:
            job.due += self._limits.bulk_patience_s
        self.tokens += sum(job.lengths)
        by_length = self._by_length[job.model]
        by_length.extend(items)
        by_length.sort(key=_PLACE)
        self._jobs[job] = None

    def ahead_s(self, job: Job, now: float) -> float:
        """Seconds that the others' work takes that goes before this job's."""
        turn = _turn(job, now)
        return sum(
            _takes_s(each, now)
            for each in self._jobs
            if each is not job and _turn(each, now) <= turn
        )

    def remove(self, job: Job) -> None:
        """Forget what of the job has not started; a job that is not here is no error."""
        if job not in self._jobs:
            return
        del self._jobs[job]
        items = self._by_length[job.model]
        self._by_length[job.model] = [item for item in items if item.job is not job]
        self.tokens -= sum(item.tokens for item in job.waiting.values())
        job.waiting.clear()
        job.waiting_s = job.least_s = 0.0

    def withdraw(self, item: Item) -> None:
        """Remove one item, which has been answered otherwise; a job without items is gone."""
        self._take(item)

    def give_up(self, now: float) -> list[Job]:
        """Remove and return the jobs that can no longer be finished in time.

        A partial job is finished with what it has once not even its next item fits.
        """
        late = [job for job in self._jobs if now + self._least_s(job) > job.deadline]
        for job in late:
            self.remove(job)
        return late

    def take_batch(self, now: float) -> Batch | None:
        """Remove and return what goes next, or None where nothing waits."""
        if not self._jobs:
            return None
        in_turn = sorted(self._jobs, key=lambda job: _turn(job, now))
        leader, hurried = in_turn[0], _hurried(in_turn, now)
        growing = _Growing(self._costs[leader.model], self._limits, now)
        if leader in hurried:
            growing.join_in_order(leader.waiting.values())
        else:
            growing.join_of_like_length(leader, self._by_length[leader.model], hurried)
        for item in growing.items:
            self._take(item)
        return Batch(leader.model, growing.items)

    def _least_s(self, job: Job) -> float:
        if job.partial:
            following = next(iter(job.waiting.values()))
            return following.least_s
        return job.least_s

    def _take(self, item: Item) -> None:
        job = item.job
        del job.waiting[item.index]
        job.waiting_s -= item.row_s
        job.least_s -= item.least_s
        self.tokens -= item.tokens
        if not job.waiting:
            del self._jobs[job]
        items = self._by_length[job.model]
        del items[bisect_left(items, item.place, key=_PLACE)]


class _Growing:
    """A batch while items join it."""

    def __init__(self, cost: Cost, limits: BatchLimits, now: float) -> None:
        self._cost = cost
        self._limits = limits
        self._now = now
        self._due = float("inf")
        self._longest = 0
        self.items: list[Item] = []

    def join_in_order(self, items: Iterable[Item]) -> None:
        for item in items:
            if self.items and not self._fits(item.tokens, item.job.deadline):
                break
            self._add(item)

    def join_of_like_length(
        self, leader: Job, items: Sequence[Item], hurried: Container[Job]
    ) -> None:
        """Take the leader's longest item and its neighbours among `items`, sorted by length."""
        first = max(leader.waiting.values(), key=_PLACE)
        self._add(first)
        below = bisect_left(items, first.place, key=_PLACE) - 1
        above = below + 2
        while self._fits(0, self._due):
            shorter = items[below] if below >= 0 else None
            longer = items[above] if above < len(items) else None
            # The neighbour that brings less padding goes first.
            item = min(
                (each for each in (shorter, longer) if each), key=self._padding_s, default=None
            )
            if item is None or self._padding_s(item) > self._cost.fixed_s:
                break
            if item is shorter:
                below -= 1
            else:
                above += 1
            if item.job not in hurried and self._fits(item.tokens, item.job.deadline):
                self._add(item)

    def _add(self, item: Item) -> None:
        self.items.append(item)
        self._longest = max(self._longest, item.tokens)
        self._due = min(self._due, item.job.deadline)

    def _padding_s(self, item: Item) -> float:
        """Seconds of padding that this item would bring, to its own row or to the others."""
        difference_s = self._cost.row_s(item.tokens) - self._cost.row_s(self._longest)
        return -difference_s if difference_s < 0 else difference_s * len(self.items)

    def _fits(self, tokens: int, deadline: float) -> bool:
        rows, longest = len(self.items) + 1, max(self._longest, tokens)
        batch_s = self._cost.batch_s(rows, longest)
        return (
            rows * longest <= self._limits.max_tokens
            and batch_s <= self._limits.max_s
            and self._now + batch_s <= min(self._due, deadline)
        )


def _turn(job: Job, now: float) -> tuple[bool, float]:
    """Return what jobs are sorted by: whose last moment has come goes first.

    Bulk work can wait and partial work can be answered short, so neither has a last moment.
    """
    can_wait = job.partial or job.priority is Priority.BULK
    if not can_wait and now + _LAST_MOMENT * job.waiting_s >= job.deadline:
        return False, job.deadline
    return True, job.due


def _takes_s(job: Job, now: float) -> float:
    """Return the seconds that a job will take of the device: a partial one ends at its deadline."""
    return min(job.waiting_s, max(0.0, job.deadline - now)) if job.partial else job.waiting_s


def _hurried(in_turn: Sequence[Job], now: float) -> set[Job]:
    """Return the partial jobs that may not be done in time."""
    hurried = set()
    work_s = 0.0
    for job in in_turn:
        work_s += _takes_s(job, now)
        if job.partial and now + _SAFE * work_s > job.deadline:
            hurried.add(job)
    return hurried
