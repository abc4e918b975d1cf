"""Let items join a batch: what fits, and what its padding may cost. No clock, no I/O."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from finesieve_server.batching.jobs import Item, Job

# Where there is time, items up to this much shorter than the first go by turn and not by length.
# 3% to 8% was measured to pad the same mixed lengths by 1.1% to 2.3% (docs/decisions/0007).
_ALIKE = 0.05


class Cost(Protocol):
    """What a batch of one model takes: a fixed part, and a part for every padded row."""

    @property
    def fixed_s(self) -> float: ...
    def row_s(self, tokens: int) -> float: ...
    def least_row_s(self, tokens: int) -> float: ...
    def batch_s(self, rows: int, tokens: int) -> float: ...


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The largest batch, in padded tokens and in predicted seconds, and how much may wait for one.

    The seconds bound how long an urgent newcomer waits for the batch that runs. A single item
    larger than either still runs, alone.
    """

    max_tokens: int
    max_s: float
    max_waiting_tokens: int = 1_000_000
    # A job is due once it has waited this many times as long as it takes, if not before.
    stretch: float = 10.0


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


class ByLength:
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
        alike = self._items[item.tokens]
        del alike[item]
        if not alike:
            del self._items[item.tokens]
            del self._lengths[bisect_left(self._lengths, item.tokens)]

    def shorter(self, tokens: int) -> Iterator[int]:
        """Yield that length, if there is one of it, then the shorter ones."""
        return reversed(self._lengths[: bisect_right(self._lengths, tokens)])

    def longer(self, tokens: int) -> Iterator[int]:
        return iter(self._lengths[bisect_right(self._lengths, tokens) :])

    def of(self, tokens: int) -> Iterable[Item]:
        return self._items[tokens]


class GrowingBatch:
    """A batch that a leader's item has started, while others join. No key comes twice.

    Jobs that are due after `has_time` have time. A partial job without gives its items in its own
    order, any other its longest first. Rows of more than `share_s` are left to other devices.
    """

    def __init__(
        self,
        leader: Job,
        cost: Cost,
        limits: BatchLimits,
        now: float,
        has_time: float,
        share_s: float,
    ) -> None:
        self._cost = cost
        self._limits = limits
        self._now = now
        self._has_time = has_time
        self._share_s = share_s
        self._fixed_s = cost.fixed_s
        self._due = float("inf")
        self._longest = 0
        self._row_s = 0.0  # of the longest
        self._members: set[Item] = set()
        self._keys: set[bytes] = set()
        self.items: list[Item] = []
        self._add(next(iter(self._offered(leader))))
        self._affordable_s = self._fixed_s
        if leader.deadline >= has_time:
            self._affordable_s = min(self._fixed_s, _ALIKE * self._row_s)

    def join_in_turn(self, jobs: Iterable[Job]) -> None:
        """Take what is like the first item, of one job after the other.

        Where the leader has time, that is what hardly needs padding.
        """
        for job in jobs:
            if self._is_full:
                break
            for item in self._offered(job):
                if self._is_here(item):
                    continue
                if self._padding_s(item.tokens) > self._affordable_s or not self._fits(item):
                    break
                self._add(item)

    def join_nearest(self, items: ByLength) -> None:
        """Take the nearest lengths, those that pad less first, whosoever they are."""
        below, above = items.shorter(self._longest), items.longer(self._longest)
        shorter, longer = next(below, None), next(above, None)
        while not self._is_full:
            neighbours = [each for each in (shorter, longer) if each is not None]
            tokens = min(neighbours, key=self._padding_s, default=None)
            if tokens is None or self._padding_s(tokens) > self._fixed_s:
                break
            if tokens == shorter:
                shorter = next(below, None)
            else:
                longer = next(above, None)
            for item in items.of(tokens):
                if self._is_full:
                    break
                if not (self._is_here(item) or self._in_order(item.job)) and self._fits(item):
                    self._add(item)

    def _add(self, item: Item) -> None:
        self.items.append(item)
        self._members.add(item)
        if item.key is not None:
            self._keys.add(item.key)
        if item.tokens > self._longest:
            self._longest = item.tokens
            self._row_s = self._cost.row_s(item.tokens)
        self._due = min(self._due, item.job.deadline)

    def _is_here(self, item: Item) -> bool:
        """Is it here, or a twin of it?"""
        return item in self._members or item.key in self._keys

    def _in_order(self, job: Job) -> bool:
        return job.partial and job.deadline < self._has_time

    def _offered(self, job: Job) -> Iterable[Item]:
        if self._in_order(job):
            return job.waiting.values()
        return job.longest_first(self.items[0].tokens if self.items else None)

    def _padding_s(self, tokens: int) -> float:
        """Seconds of padding that such an item would bring, to its own row or to the others."""
        difference_s = self._cost.row_s(tokens) - self._row_s
        return -difference_s if difference_s < 0 else difference_s * len(self.items)

    @property
    def _is_full(self) -> bool:
        return not self._has_space(0, self._due)

    def _fits(self, item: Item) -> bool:
        return self._has_space(item.tokens, item.job.deadline)

    def _has_space(self, tokens: int, deadline: float) -> bool:
        rows, longest, row_s = len(self.items) + 1, self._longest, self._row_s
        if tokens > longest:
            longest, row_s = tokens, self._cost.row_s(tokens)
        batch_s = self._fixed_s + rows * row_s
        return (
            rows * longest <= self._limits.max_tokens
            and rows * row_s <= self._share_s
            and batch_s <= self._limits.max_s
            and self._now + batch_s <= min(self._due, deadline)
        )
