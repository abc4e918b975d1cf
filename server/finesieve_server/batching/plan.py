"""Decide which waiting work forms the next batch. No clock, no I/O, no threads.

The rule, whole:

1. Work that can no longer be finished in time is given up before it costs anything.
2. Each tenant's interactive work stands in a line, and its bulk work in another. The line that
   has had the least of the device leads (start-time fair queueing); a second of bulk counts as
   ten, so it yields and is served all the same. Who comes back after a pause starts where the
   others are: a pause earns nothing.
3. In a line, the job that is due first leads. A job is due when it must start to be done by its
   deadline, or sooner: after some times as long as it takes alone, so that everyone waits in
   proportion to what they ask for, and a query's embedding does not queue behind a thousand pairs.
4. Its longest item starts the batch, and the nearest lengths of any job of that model join, each
   as long as its padding costs less than a batch of its own would. Each line pays for its own.
5. A job that may be answered in part, and may not be done in time, gives its items in its own
   order instead, so that what is scored by its deadline is its best part.
6. One row answers all waiting items of one key.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from operator import attrgetter
from typing import Protocol

# Predictions leave out padding and what arrives meanwhile. A job is due when it has this many times
# what it needs left, and a partial one is safe to be batched by length when it has that many.
_LAST_MOMENT = 1.25
_SAFE = 2.0
# A second of bulk work counts as this many of interactive work.
_BULK_COUNTS = 10.0
_TURN = attrgetter("turn")
_TOKENS = attrgetter("tokens")


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
    """The largest batch, in padded tokens and in predicted seconds, and how much may wait.

    The seconds bound how long an urgent newcomer waits for the batch that runs. A single item
    larger than either still runs, alone.
    """

    max_tokens: int
    max_s: float
    max_waiting_tokens: int = 1_000_000
    # A job is due once it has waited this many times as long as it takes, if not before.
    stretch: float = 10.0


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
    keys: Sequence[bytes | None] | None = None  # items of one key are the same to the model
    waiting: dict[int, "Item"] = field(default_factory=dict, init=False)  # by position, in order
    # The same, shortest first; what has left is dropped when it is met.
    by_length: list["Item"] = field(default_factory=list, init=False)
    waiting_s: float = field(default=0.0, init=False)  # what they are predicted to take
    least_s: float = field(default=0.0, init=False)  # and on an idle device
    turn: tuple[float, int] = field(default=(0.0, 0), init=False)  # when due, then first come


@dataclass(slots=True, eq=False)
class Item:
    """One text or pair of a job."""

    job: Job
    index: int
    tokens: int
    row_s: float  # predicted when it arrived
    least_s: float
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Items of one model to be run together, padded to the longest.

    `twins` are the others that waited with the key of one of these: the same row answers them.
    """

    model: str
    items: Sequence[Item]
    twins: Sequence[Item] = ()

    @property
    def tokens(self) -> int:
        return sum(item.tokens for item in self.items)

    @property
    def longest(self) -> int:
        return max(item.tokens for item in self.items)


@dataclass(slots=True, eq=False)
class _Line:
    """What waits of one tenant and one priority."""

    counts: float  # what a second of the device counts for here
    had_s: float  # seconds that count, so far
    jobs: list[Job] = field(default_factory=list)  # by turn
    tokens: int = 0
    work_s: float = 0.0


class WaitingWork:
    """All work that has not started, and the next batch of it."""

    def __init__(self, costs: Mapping[str, Cost], limits: BatchLimits, devices: int = 1) -> None:
        self._costs = costs
        self._limits = limits
        self._devices = devices
        self._lines: dict[tuple[str, Priority], _Line] = {}
        self._by_length = {model: _ByLength() for model in costs}
        self._by_key: dict[bytes, dict[Item, None]] = {}
        self._arrivals = count()
        self._had_s = 0.0  # of the line that led last
        self._running_until = deque([0.0] * devices, devices)
        self.tokens = 0

    def excess(self, job: Job) -> int:
        """Return how many tokens too many the job has to wait with; 0: there is room.

        Its line may hold as much as is free besides. So nobody fills the queue, and a newcomer
        always finds room. Where nothing waits, work of any size may.
        """
        line = self._lines.get((job.tenant, job.priority))
        held = line.tokens if line else 0
        free = self._limits.max_waiting_tokens - self.tokens
        return max(0, held + sum(job.lengths) - free) if self.tokens else 0

    def work_s(self, now: float) -> float:
        """Seconds until all that waits is predicted to be done."""
        waiting_s = sum(line.work_s for line in self._lines.values())
        return (waiting_s + self._running_s(now)) / self._devices

    def finish_s(self, job: Job, now: float) -> float:
        """Seconds until this job, which waits, is predicted to be done.

        What its line does before it, and what the others may take meanwhile, each by its share.
        """
        line = self._line(job)
        before = line.jobs[: bisect_left(line.jobs, job.turn, key=_TURN)]
        own_s = job.waiting_s + sum(_takes_s(each, now) for each in before)
        others_s = sum(
            min(other.work_s, own_s * line.counts / other.counts)
            for other in self._lines.values()
            if other is not line
        )
        return (own_s + others_s + self._running_s(now)) / self._devices

    def add(self, job: Job, now: float) -> None:
        line = self._lines.setdefault((job.tenant, job.priority), _new_line(job.priority))
        if not line.jobs:
            line.had_s = max(line.had_s, self._had_s)
        cost, by_length = self._costs[job.model], self._by_length[job.model]
        for index, tokens in enumerate(job.lengths):
            key = job.keys[index] if job.keys else None
            item = Item(job, index, tokens, cost.row_s(tokens), cost.least_row_s(tokens), key)
            job.waiting[index] = item
            job.waiting_s += item.row_s
            job.least_s += item.least_s
            by_length.add(item)
            if key is not None:
                self._by_key.setdefault(key, {})[item] = None
        job.by_length = sorted(job.waiting.values(), key=_TOKENS)
        # A partial job can be answered short, so that it must start only to give one item.
        needs_s = job.by_length[-1].row_s if job.partial else _LAST_MOMENT * job.waiting_s
        due = min(job.deadline - needs_s, now + self._limits.stretch * job.waiting_s)
        job.turn = due, next(self._arrivals)
        insort(line.jobs, job, key=_TURN)
        line.work_s += job.waiting_s
        tokens = sum(job.lengths)
        line.tokens += tokens
        self.tokens += tokens

    def remove(self, job: Job) -> None:
        """Forget what of the job has not started; a job that is not here is no error."""
        for item in list(job.waiting.values()):
            self._take(item)

    def give_up(self, now: float) -> list[Job]:
        """Remove and return the jobs that can no longer be finished in time.

        A partial job is finished with what it has once not even its next item fits.
        """
        late = [
            job
            for line in self._lines.values()
            for job in line.jobs[: bisect_right(line.jobs, (now, 0), key=_TURN)]
            if now + _least_s(job) > job.deadline
        ]
        for job in late:
            self.remove(job)
        return late

    def take_batch(self, now: float) -> Batch | None:
        """Remove and return what goes next, or None where nothing waits."""
        line = self._leading()
        if line is None:
            return None
        self._had_s = line.had_s
        leader = line.jobs[0]
        cost = self._costs[leader.model]
        growing = _Growing(cost, self._limits, now)
        if leader.partial and now + _SAFE * self.finish_s(leader, now) > leader.deadline:
            growing.join_in_order(leader.waiting.values())
        else:
            safe_until = now + _SAFE * self.work_s(now)
            growing.join_of_like_length(leader, self._by_length[leader.model], safe_until)
        batch = Batch(leader.model, growing.items, self._twins(growing.items))
        row_s = cost.row_s(batch.longest)
        line.had_s += cost.fixed_s * line.counts
        for item in batch.items:
            its_line = self._line(item.job)
            its_line.had_s += row_s * its_line.counts
        for item in (*batch.items, *batch.twins):
            self._take(item)
        self._running_until.append(now + cost.batch_s(len(batch.items), batch.longest))
        return batch

    def _twins(self, items: Sequence[Item]) -> list[Item]:
        alike = (self._by_key[item.key] for item in items if item.key is not None)
        own = set(items)
        return [twin for each in alike for twin in each if twin not in own]

    def _leading(self) -> _Line | None:
        """Return the line that has had least; drop those that neither wait nor owe."""
        self._lines = {
            whose: line
            for whose, line in self._lines.items()
            if line.jobs or line.had_s > self._had_s
        }
        waiting = (line for line in self._lines.values() if line.jobs)
        return min(waiting, key=lambda line: (line.had_s, line.counts), default=None)

    def _line(self, job: Job) -> _Line:
        return self._lines[job.tenant, job.priority]

    def _running_s(self, now: float) -> float:
        return sum(max(0.0, until - now) for until in self._running_until)

    def _take(self, item: Item) -> None:
        job = item.job
        line = self._line(job)
        del job.waiting[item.index]
        job.waiting_s -= item.row_s
        job.least_s -= item.least_s
        line.work_s -= item.row_s
        line.tokens -= item.tokens
        self.tokens -= item.tokens
        self._by_length[job.model].remove(item)
        if item.key is not None:
            alike = self._by_key[item.key]
            del alike[item]
            if not alike:
                del self._by_key[item.key]
        if not job.waiting:
            del line.jobs[bisect_left(line.jobs, job.turn, key=_TURN)]


class _ByLength:
    """The waiting items of one model by length; of one length, first come, first served."""

    def __init__(self) -> None:
        self._lengths: list[int] = []  # sorted
        self._items: dict[int, dict[Item, None]] = {}

    def add(self, item: Item) -> None:
        if item.tokens not in self._items:
            self._items[item.tokens] = {}
            insort(self._lengths, item.tokens)
        self._items[item.tokens][item] = None

    def remove(self, item: Item) -> None:
        same = self._items[item.tokens]
        del same[item]
        if not same:
            del self._items[item.tokens]
            del self._lengths[bisect_left(self._lengths, item.tokens)]

    def up_to(self, tokens: int) -> Iterator[Item]:
        """Yield the items of that length and shorter ones, the longest first."""
        for at in range(bisect_right(self._lengths, tokens) - 1, -1, -1):
            yield from self._items[self._lengths[at]]

    def beyond(self, tokens: int) -> Iterator[Item]:
        """Yield the longer items, the shortest first."""
        for at in range(bisect_right(self._lengths, tokens), len(self._lengths)):
            yield from self._items[self._lengths[at]]


class _Growing:
    """A batch while items join it."""

    def __init__(self, cost: Cost, limits: BatchLimits, now: float) -> None:
        self._cost = cost
        self._limits = limits
        self._now = now
        self._due = float("inf")
        self._longest = 0
        self._keys: set[bytes] = set()
        self.items: list[Item] = []

    def join_in_order(self, items: Iterable[Item]) -> None:
        for item in items:
            if item.key in self._keys:
                continue
            if self.items and not self._fits(item.tokens, item.job.deadline):
                break
            self._add(item)

    def join_of_like_length(self, leader: Job, items: _ByLength, safe_until: float) -> None:
        """Take the leader's longest item and its neighbours.

        Partial jobs whose deadline comes before `safe_until` keep their own order.
        """
        while leader.by_length[-1].index not in leader.waiting:
            leader.by_length.pop()
        first = leader.by_length[-1]
        self._add(first)
        below, above = items.up_to(first.tokens), items.beyond(first.tokens)
        shorter, longer = next(below, None), next(above, None)
        while self._fits(0, self._due):
            # The neighbour that brings less padding goes first.
            item = min(
                (each for each in (shorter, longer) if each), key=self._padding_s, default=None
            )
            if item is None or self._padding_s(item) > self._cost.fixed_s:
                break
            if item is shorter:
                shorter = next(below, None)
            else:
                longer = next(above, None)
            if (
                item is first
                or item.key in self._keys
                or (item.job.partial and item.job.deadline < safe_until)
            ):
                continue
            if self._fits(item.tokens, item.job.deadline):
                self._add(item)

    def _add(self, item: Item) -> None:
        self.items.append(item)
        if item.key is not None:
            self._keys.add(item.key)
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


def _new_line(priority: Priority) -> _Line:
    return _Line(_BULK_COUNTS if priority is Priority.BULK else 1.0, 0.0)


def _takes_s(job: Job, now: float) -> float:
    """Return the seconds that a job will take of the device: a partial one ends at its deadline."""
    return min(job.waiting_s, max(0.0, job.deadline - now)) if job.partial else job.waiting_s


def _least_s(job: Job) -> float:
    return next(iter(job.waiting.values())).least_s if job.partial else job.least_s
