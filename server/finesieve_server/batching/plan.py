"""Decide which waiting work forms the next batch. No clock, no I/O, no threads.

The rule, whole:

1. Each tenant's interactive work stands in a line, and its bulk work in another. The line that has
   had less of the devices leads, to within half a second; of those that had as much, an interactive
   one, then the one whose first job is due first. A second of bulk counts as ten, so bulk yields
   and is served all the same. A pause earns no more than half a second.
2. In a line, the job that is due first goes first. A job is due when it must start to be done by
   its deadline, or sooner: after some times as long as it takes alone, so that everyone waits in
   proportion to what they ask for, and a query's embedding does not queue behind a thousand pairs.
   But it does not overtake a job that would be late for it.
3. The first job of the leading line starts the batch with its longest item. Job after job, in
   turn, adds what is like it, longest first; then the nearest lengths join, whosoever they are.
   Where all that waits could be done well before the leader's deadline, little padding is
   allowed in turn and the device does most; otherwise as much as pays, and who is first is done
   soonest. Nothing joins whose padding costs more than a batch of its own would, and where there
   are several devices, no batch takes more than one device's share of all that waits. Every line
   pays for its own items.
4. A job that may be answered in part, and has not that much time, gives its items in its own
   order, so that what is scored by its deadline is its best part.
5. Work that can no longer be finished in time is given up before it costs anything more.
6. One row answers all waiting items of one key.

1 is start-time fair queueing (Goyal, Vin, Cheng 1996) in rounds; the room in the queue, a dynamic
threshold (Choudhury, Hahne 1998). What each rule is worth: docs/decisions/0007-fair-lines.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapreplace
from itertools import chain, count, islice

from finesieve_server.batching.batch import Batch, BatchLimits, ByLength, Cost, GrowingBatch
from finesieve_server.batching.jobs import Item, Job, Line, Priority

__all__ = ["Batch", "BatchLimits", "Cost", "Item", "Job", "Priority", "WaitingWork"]

# Lines that had the same number of these seconds had as much.
_ROUND_S = 0.5
_BULK_COUNTS = 10.0
# Predictions leave out padding and disturbances: work may take this many times as long.
_MARGIN = 1.25
# A job has time where all that waits could be done this many times over by its deadline.
_HAS_TIME = 2.0
# Jobs that are asked what they have that is like the leader's, or how a newcomer would hurt them.
_LOOKED_AT = 32


class WaitingWork:
    """All work that has not started, and the next batch of it."""

    def __init__(self, costs: Mapping[str, Cost], limits: BatchLimits, devices: int = 1) -> None:
        self._costs = costs
        self._limits = limits
        self.devices = devices
        self._lines: dict[tuple[str, Priority], Line] = {}
        self._by_length = {model: ByLength() for model in costs}
        self._by_key: dict[bytes, dict[Item, None]] = {}
        self._arrivals = count()
        self._had_s = 0.0  # the most that a line had when it led
        self._running_until = [0.0] * devices  # a heap: who takes a batch was done first
        self.tokens = 0

    def excess(self, job: Job, others: Sequence[Job] = ()) -> int:
        """Return how many tokens too many the job has to wait with; 0: there is room.

        Its line may hold as much as is free besides. So nobody fills the queue, and a newcomer
        always finds room. Where nothing waits, work of any size may. `others` count as waiting.
        """
        line = self._lines.get((job.tenant, job.priority))
        held = line.tokens if line else 0
        free = self._limits.max_waiting_tokens - self.tokens
        for other in others:
            tokens = sum(other.lengths)
            free -= tokens
            held += tokens if (other.tenant, other.priority) == (job.tenant, job.priority) else 0
        waiting = self.tokens or others
        return max(0, held + sum(job.lengths) - free) if waiting else 0

    def work_s(self, now: float) -> float:
        """Seconds until all that waits is predicted to be done."""
        return self._done_s(self._waiting_s, now)

    def finish_s(self, job: Job, now: float, before_s: float = 0.0) -> float:
        """Seconds until this job, which waits, is predicted to be done: its line up to it, so much
        that is to come before it, and what the others may take meanwhile.

        Later arrivals change it only where they are of a tenant that has had less.
        """
        before_s += sum(each.takes_s(now, self.devices) for each in self._before(job))
        return self._line_done_s(job.line, before_s + self.devices * job.alone_s(self.devices), now)

    def add(self, job: Job, now: float) -> None:
        line = self._lines.setdefault((job.tenant, job.priority), _new_line(job.priority))
        job.line = line
        if not line.jobs:
            line.had_s = max(line.had_s, self._had_s - _ROUND_S)
        items = self._items(job)
        for item in items:
            self._by_length[job.model].add(item)
            if item.key is not None:
                self._by_key.setdefault(item.key, {})[item] = None
        job.put(items)
        self._give_turn(job, now)
        line.add(job)
        self.tokens += sum(job.lengths)

    def remove(self, job: Job) -> None:
        """Forget what of the job has not started; a job that is not here is no error."""
        for item in list(job.waiting.values()):
            self._take(item)

    def give_up(self, now: float) -> list[Job]:
        """Remove and return the jobs that can no longer be finished in time.

        A partial job is finished with what it has once not even its next item fits.
        """
        due = (line.due(now) for line in self._lines.values())  # nothing is late before
        late = [job for job in chain.from_iterable(due) if job.is_late(now, self.devices)]
        for job in late:
            self.remove(job)
        return late

    def take_batch(self, now: float) -> Batch | None:
        """Remove and return what goes next, or None where nothing waits."""
        line = self._leading()
        if line is None:
            return None
        self._had_s = max(self._had_s, line.had_s)
        leader = line.jobs[0]
        model, cost = leader.model, self._costs[leader.model]
        has_time = now + _HAS_TIME * self.work_s(now)
        growing = GrowingBatch(leader, cost, self._limits, now, has_time, self._share_s(cost, now))
        growing.join_in_turn(islice(self._in_turn(model), _LOOKED_AT))
        growing.join_nearest(self._by_length[model])
        batch = Batch(model, growing.items, self._twins(growing.items))
        self._charge(line, batch)
        for item in (*batch.items, *batch.twins):
            self._take(item)
        heapreplace(self._running_until, now + cost.batch_s(len(batch.items), batch.longest))
        return batch

    def _leading(self) -> Line | None:
        """Return the line that leads; drop those that neither wait nor owe."""
        self._lines = {
            whose: line
            for whose, line in self._lines.items()
            if line.jobs or line.had_s > self._had_s - _ROUND_S
        }
        return min((line for line in self._lines.values() if line.jobs), key=_rank, default=None)

    def _in_turn(self, model: str) -> Iterator[Job]:
        waiting = [line for line in self._lines.values() if line.jobs]
        in_turn = chain.from_iterable(line.jobs for line in sorted(waiting, key=_rank))
        return (job for job in in_turn if job.model == model)

    def _items(self, job: Job) -> list[Item]:
        cost, keys = self._costs[job.model], job.keys or (None,) * len(job.lengths)
        work_s = {}
        for tokens in set(job.lengths):
            part_s = cost.fixed_s * min(1.0, tokens / self._limits.max_tokens)
            work_s[tokens] = part_s + cost.row_s(tokens), cost.least_row_s(tokens)
        return [
            Item(job, index, tokens, *work_s[tokens], key)
            for index, (tokens, key) in enumerate(zip(job.lengths, keys, strict=True))
        ]

    def _give_turn(self, job: Job, now: float) -> None:
        # A partial job can be answered short: it must start only to give one item.
        longest = next(job.longest_first())
        alone_s = job.alone_s(self.devices)
        must_start = job.deadline - (longest.work_s if job.partial else _MARGIN * alone_s)
        due = min(must_start, now + self._limits.stretch * alone_s)
        job.turn = due, next(self._arrivals)
        hurt = self._hurt(job, now)
        if hurt is not None:
            due = min(must_start, hurt.turn[0]) if job.partial else hurt.turn[0]
            job.turn = max(job.turn[0], due), job.turn[1]

    def _hurt(self, job: Job, now: float) -> Job | None:
        """Return the last job that would be late if this one overtook it."""
        line = job.line
        before = self._before(job)
        overtaken = line.jobs[len(before) : len(before) + _LOOKED_AT]
        if not overtaken:
            return None
        line_s = job.waiting_s + sum(each.takes_s(now, self.devices) for each in before)
        hurt = None
        for each in overtaken:
            line_s += each.takes_s(now, self.devices)
            if not each.partial and now + self._line_done_s(line, line_s, now) > each.deadline:
                hurt = each
        return hurt

    def _before(self, job: Job) -> Sequence[Job]:
        """Return the jobs of its line that go before this one, which may be there or not."""
        return job.line.jobs[: job.line.place(job)]

    def _line_done_s(self, line: Line, line_s: float, now: float) -> float:
        """Seconds until a line has had `line_s` of the devices, and the others what is theirs."""
        until_s = line.had_s + line_s * line.counts
        others_s = sum(
            min(other.work_s, max(0.0, (until_s - other.had_s) / other.counts))
            for other in self._lines.values()
            if other is not line
        )
        return self._done_s(line_s + others_s, now)

    def _done_s(self, work_s: float, now: float) -> float:
        return (self._running_s(now) + _MARGIN * work_s) / self.devices

    @property
    def _waiting_s(self) -> float:
        return sum(line.work_s for line in self._lines.values())

    def _running_s(self, now: float) -> float:
        return sum(max(0.0, until - now) for until in self._running_until)

    def _share_s(self, cost: Cost, now: float) -> float:
        """Seconds of rows after which a device leaves the rest to the others.

        What does not even outweigh the fixed part of a batch is not worth another one.
        """
        if self.devices == 1:
            return float("inf")
        return max((self._running_s(now) + self._waiting_s) / self.devices, cost.fixed_s)

    def _twins(self, items: Sequence[Item]) -> list[Item]:
        alike = (self._by_key[item.key] for item in items if item.key is not None)
        own = set(items)
        return [twin for each in alike for twin in each if twin not in own]

    def _charge(self, leading: Line, batch: Batch) -> None:
        cost = self._costs[batch.model]
        leading.had_s += cost.fixed_s * leading.counts
        row_s = cost.row_s(batch.longest)
        for item in batch.items:
            line = item.job.line
            line.had_s += row_s * line.counts

    def _take(self, item: Item) -> None:
        self._by_length[item.job.model].remove(item)
        if item.key is not None:
            alike = self._by_key[item.key]
            del alike[item]
            if not alike:
                del self._by_key[item.key]
        item.job.line.take(item)
        self.tokens -= item.tokens


def _new_line(priority: Priority) -> Line:
    return Line(_BULK_COUNTS if priority is Priority.BULK else 1.0)


def _rank(line: Line) -> tuple[float, float, tuple[float, int]]:
    return line.had_s // _ROUND_S, line.counts, line.jobs[0].turn
