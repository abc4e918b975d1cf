"""What waits for a device: items of jobs, jobs in lines. Which goes next is `plan.py`'s to say."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter

_TOKENS = attrgetter("tokens")
_TURN = attrgetter("turn")


class Priority(Enum):
    """Who waits: a person, or a load job."""

    INTERACTIVE = 1
    BULK = 2


@dataclass(slots=True, eq=False)
class Item:
    """One text or pair of a job."""

    job: "Job"
    index: int
    tokens: int
    work_s: float  # predicted when it arrived: its row, and its part of what a batch costs anyway
    least_s: float  # its row on an idle device
    key: bytes | None


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
    waiting: dict[int, Item] = field(default_factory=dict, init=False)  # by position, in order
    waiting_s: float = field(default=0.0, init=False)  # what they are predicted to take
    turn: tuple[float, int] = field(default=(0.0, 0), init=False)  # when due; then first come
    line: "Line" = field(init=False)  # that it stands in
    # Shortest first; up to half of them have left already.
    _by_length: list[Item] = field(default_factory=list, init=False)
    _least_s: float = field(default=0.0, init=False)

    def put(self, items: Sequence[Item]) -> None:
        self.waiting = {item.index: item for item in items}
        self.waiting_s = sum(item.work_s for item in items)
        self._least_s = sum(item.least_s for item in items)
        self._by_length = sorted(items, key=_TOKENS)

    def take(self, item: Item) -> None:
        del self.waiting[item.index]
        self.waiting_s -= item.work_s
        self._least_s -= item.least_s
        if len(self._by_length) > 2 * len(self.waiting):
            self._by_length = [each for each in self._by_length if each.index in self.waiting]

    def longest_first(self, up_to: int | None = None) -> Iterator[Item]:
        """Yield the items that wait, of at most that many tokens."""
        items = self._by_length
        end = len(items) if up_to is None else bisect_right(items, up_to, key=_TOKENS)
        for at in range(end - 1, -1, -1):
            if items[at].index in self.waiting:
                yield items[at]

    def takes_s(self, now: float, devices: int) -> float:
        """Seconds that the job will take of the devices: a partial one ends at its deadline."""
        if not self.partial:
            return self.waiting_s
        return min(self.waiting_s, devices * max(0.0, self.deadline - now))

    def alone_s(self, devices: int) -> float:
        """Seconds until all devices together have done it; an item is not divided."""
        return max(self.waiting_s / devices, next(self.longest_first()).work_s)

    def is_late(self, now: float, devices: int) -> bool:
        """Can it not be done in time any more, by all devices together? Of a partial job, its next
        item; an item is not divided."""
        if self.partial:
            least_s = next(iter(self.waiting.values())).least_s
        else:
            least_s = max(self._least_s / devices, next(self.longest_first()).least_s)
        return now + least_s > self.deadline


@dataclass(slots=True, eq=False)
class Line:
    """The jobs of one tenant and one priority, in the order of their turns."""

    counts: float  # what a second of a device counts for here
    had_s: float = 0.0  # seconds that it has had, as they count
    jobs: list[Job] = field(default_factory=list)
    tokens: int = 0
    work_s: float = 0.0

    def add(self, job: Job) -> None:
        insort(self.jobs, job, key=_TURN)
        self.tokens += sum(job.lengths)
        self.work_s += job.waiting_s

    def take(self, item: Item) -> None:
        job = item.job
        job.take(item)
        self.tokens -= item.tokens
        self.work_s -= item.work_s
        if not job.waiting:
            del self.jobs[self.place(job)]

    def place(self, job: Job) -> int:
        """Return how many jobs go before this one, which may be here or not."""
        return bisect_left(self.jobs, job.turn, key=_TURN)

    def due(self, now: float) -> Sequence[Job]:
        """Return the jobs that should have started."""
        return self.jobs[: bisect_right(self.jobs, (now, 0), key=_TURN)]
