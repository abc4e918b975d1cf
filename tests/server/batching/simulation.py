"""Play calls against one simulated device, under the server's planner or another arm.

The device takes what the cost model says, give or take 5%. A call is good where its answer comes by
its deadline. Loads are in `scheduling.py`, simpler arms in `arms.py`.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from finesieve_server.batching.cost import CostModel, Sample
from finesieve_server.batching.plan import BatchLimits, Job, Priority, WaitingWork
from finesieve_server.batching.reserve import Reserve

# The bundled int8 cross-encoder on two cores, measured: seconds of a row of so many tokens.
_FIXED_S = 2.2e-3
_ROW_S = {16: 0.53e-3, 80: 2.7e-3, 128: 4.4e-3, 256: 9.3e-3}
LIMITS = BatchLimits(max_tokens=512, max_s=0.25)
_NOISE = 0.05
# How long a spell lasts in which the device is slower or faster than it should be.
_SPELL_S = 0.3


@dataclass(slots=True, eq=False)
class Call:
    """What one caller asks for, and what came of it."""

    at: float
    lengths: Sequence[int]
    patience_s: float
    tenant: str = "default"
    priority: Priority = Priority.INTERACTIVE
    unscored: int = 0
    done_at: float = math.inf
    refused: bool = False

    @property
    def deadline(self) -> float:
        return self.at + self.patience_s

    @property
    def took_s(self) -> float:
        return self.done_at - self.at

    @property
    def good(self) -> bool:
        return self.done_at <= self.deadline


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch, and whose rows they are; None where the caller has left."""

    rows: int
    longest: int
    tokens: int
    calls: Sequence[Call | None]


class Arm(Protocol):
    """A way to decide what is let in and what goes next."""

    def arrive(self, call: Call, now: float) -> bool:
        """Return whether the call is let in."""
        ...

    def take(self, now: float) -> Taken | None: ...


@dataclass(frozen=True, slots=True)
class Played:
    """All calls of a run, in the order in which they came, and what the device did."""

    calls: Sequence[Call]
    until: float
    tokens: int
    positions: int

    @property
    def padding(self) -> float:
        return 1 - self.tokens / self.positions


def cpu_cost() -> CostModel:
    return CostModel(
        [
            Sample(rows, tokens, _FIXED_S + rows * row_s)
            for tokens, row_s in _ROW_S.items()
            for rows in (1, 4)
        ]
    )


def alone_s(lengths: Sequence[int], cost: CostModel) -> float:
    """Return how long a call takes on an idle device."""
    return play(Planner(cost), [Call(0.0, lengths, math.inf)], cost, noise=0.0).until


class Pace:
    """What a batch takes that should take so long; both deviations are of its logarithm.

    `noise` is each batch's own, `spells` are what neighbouring ones share (Ornstein-Uhlenbeck).
    """

    def __init__(self, chance: random.Random, noise: float, spells: float) -> None:
        self._chance = chance
        self._noise = noise
        self._spells = spells
        self._spell = 0.0

    def of(self, seconds: float) -> float:
        if self._spells:
            kept = math.exp(-seconds / _SPELL_S)
            change = math.sqrt(1 - kept**2) * self._chance.gauss(0, self._spells)
            self._spell = kept * self._spell + change
        return seconds * math.exp(self._chance.gauss(0, self._noise) + self._spell)


def play(
    arm: Arm,
    calls: Iterable[Call],
    cost: CostModel,
    *,
    seed: int = 0,
    noise: float = _NOISE,
    spells: float = 0.0,
    follow: Callable[[Call], Call | None] = lambda _: None,
) -> Played:
    """Run everything to its end. `follow` gives the call that comes after one that is answered."""
    pace = Pace(random.Random(seed), noise, spells)
    numbers = count()
    coming = [(call.at, next(numbers), call) for call in calls]
    heapq.heapify(coming)
    came: list[Call] = []
    tokens = positions = 0
    now = 0.0

    def let_in(until: float) -> None:
        while coming and coming[0][0] <= until:
            at, _, call = heapq.heappop(coming)
            came.append(call)
            call.unscored = len(call.lengths)
            call.refused = not arm.arrive(call, at)

    while True:
        let_in(now)
        taken = arm.take(now)
        if taken is None:
            if not coming:
                return Played(came, now, tokens, positions)
            now = coming[0][0]
            continue
        tokens += taken.tokens
        positions += taken.rows * taken.longest
        end = now + pace.of(cost.batch_s(taken.rows, taken.longest))
        let_in(end)
        now = end
        for call in taken.calls:
            if call is None:
                continue
            call.unscored -= 1
            if call.unscored == 0:
                call.done_at = now
                following = follow(call)
                if following is not None:
                    heapq.heappush(coming, (following.at, next(numbers), following))


class Planner:
    """Ours: the real plan, and the rule by which the real queue lets calls in."""

    def __init__(self, cost: CostModel, limits: BatchLimits = LIMITS) -> None:
        self._waiting = WaitingWork({"model": cost}, limits)
        self._reserve = Reserve()
        self._calls: dict[Job, Call] = {}

    def arrive(self, call: Call, now: float) -> bool:
        job = Job("model", call.lengths, call.deadline, call.priority, tenant=call.tenant)
        if self._waiting.excess(job):
            return False
        nothing_waits = not self._waiting.tokens
        self._waiting.add(job, now)
        latest = call.deadline - self._reserve.share * call.patience_s
        if not nothing_waits and now + self._waiting.finish_s(job, now) > latest:
            self._waiting.remove(job)
            self._reserve.observe(refused=True)
            return False
        self._reserve.observe(refused=False)
        self._calls[job] = call
        return True

    def take(self, now: float) -> Taken | None:
        for job in self._waiting.give_up(now):
            del self._calls[job]
        batch = self._waiting.take_batch(now)
        if batch is None:
            return None
        calls = [self._calls.get(item.job) for item in batch.items]
        return Taken(len(batch.items), batch.longest, batch.tokens, calls)
