"""What callers were promised, under load and at random moments: a model that takes its time.

Claims are about decisions, by the very clock that they were made by: how late a busy machine comes
to what was decided is not ours, and is printed beside.
"""

import asyncio
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits
from finesieve_server.batching.work import Work
from finesieve_server.errors import DeadlineExceeded, Overloaded
from finesieve_server.telemetry import Metrics
from tests.server.batching.fakes import logits

CALLERS = 24
ITEMS = 4


class Clock:
    """Tells the time, and remembers what it told this thread last."""

    def __init__(self) -> None:
        self._told = threading.local()

    def __call__(self) -> float:
        now = time.monotonic()
        self._told.times = (*getattr(self._told, "times", ())[-1:], now)
        return now

    @property
    def told_before(self) -> float:
        """The last time but one: a device asks when it takes a batch and when it starts it."""
        return float(getattr(self._told, "times", (math.nan,))[0])


class Sleeping:
    """Takes 1 ms a batch and 20 us a token, and notes when what it runs was taken.

    An item's first token is the number of its call: its answer.
    """

    max_tokens = 64

    def __init__(self) -> None:
        self.clock = Clock()
        self.taken: list[tuple[float, int]] = []

    def run(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        self.taken += [(self.clock.told_before, item[0]) for item in batch]
        time.sleep(1e-3 + 20e-6 * len(batch) * max(map(len, batch)))
        return np.array([item[0] for item in batch], np.float32)

    def example(self, tokens: int) -> list[int]:
        return [-1] * tokens


@pytest.fixture
def model() -> Sleeping:
    return Sleeping()


@pytest.fixture
async def batcher(model: Sleeping) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        [{"sleeping": model}],
        BatchLimits(max_tokens=256, max_s=1.0),
        score_cache_bytes=0,
        metrics=Metrics(),
        clock=model.clock,
    )
    await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
    model.taken.clear()
    yield batcher
    await asyncio.to_thread(batcher.close)


async def in_turn(calls: int, one: Callable[[int], Awaitable[None]]) -> None:
    """Make so many calls, some at a time."""
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def items(number: int, chance: random.Random) -> list[list[int]]:
    return [[number] * chance.randint(8, 64) for _ in range(ITEMS)]


def assert_empty(batcher: Batcher) -> None:
    """Nobody is left in the queue, and no task beside this test's own."""
    queue = batcher._queue
    assert not queue._callers
    assert not queue._running
    assert queue._waiting.tokens == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_no_batch_starts_after_its_calls_deadlines(
    batcher: Batcher,
    model: Sleeping,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    chance = random.Random(1)
    calls = repetitions(400, 10_000)
    service_s = CALLERS * (1e-3 + 20e-6 * ITEMS * 36)  # with all callers before it
    deadlines: dict[int, float] = {}
    answered_late_s: list[float] = []
    outcomes: dict[str, int] = {}

    async def one(number: int) -> None:
        partial = chance.random() < 0.5
        deadlines[number] = time.monotonic() + service_s * chance.uniform(0.1, 2.0)
        try:
            done = await batcher.run(
                Work("sleeping", items(number, chance), deadlines[number], partial=partial)
            )
        except (DeadlineExceeded, Overloaded) as refusal:
            assert not partial
            outcome = type(refusal).__name__
        else:
            assert set(logits(done)) <= {number}
            assert partial or None not in done.rows
            outcome = "partial" if None in done.rows else "whole"
            answered_late_s.append(time.monotonic() - deadlines[number])
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    await in_turn(calls, one)

    in_time = sum(late_s < 0.01 for late_s in answered_late_s) / len(answered_late_s)
    report(f"{outcomes}; {in_time:.1%} of the answers by the deadline and 10 ms")
    assert all(taken_at < deadlines[number] for taken_at, number in model.taken)
    assert sum(outcomes.values()) == calls
    assert {"whole", "partial"} <= outcomes.keys()
    assert_empty(batcher)


@pytest.mark.parametrize("alike", [False, True])
async def test_what_is_cancelled_does_not_start_and_its_batch_mates_are_answered(
    batcher: Batcher,
    model: Sleeping,
    alike: bool,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    """With `alike`, every call has a twin, which must not lose by the other's going."""
    chance = random.Random(2)
    cancelled_at: dict[int, float] = {}
    left_at: dict[int, float] = {}
    answered = 0

    async def one(number: int) -> None:
        nonlocal answered
        keys = [b"%d %d" % (number // 2, at) for at in range(ITEMS)] if alike else None
        payload = items(number // 2 if alike else number, chance)
        work = Work("sleeping", payload, time.monotonic() + 60, keys=keys)
        call = asyncio.create_task(batcher.run(work))
        if number % 2:
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            if call.cancel():
                cancelled_at[number] = time.monotonic()
        try:
            done = await call
        except asyncio.CancelledError:
            left_at[number] = time.monotonic()
        else:
            assert logits(done) == [payload[0][0]] * ITEMS
            answered += 1

    calls = repetitions(400, 20_000)
    await in_turn(calls, one)

    leaving_s = sorted(left_at[number] - cancelled_at[number] for number in left_at)
    p99_s = leaving_s[len(leaving_s) * 99 // 100]
    report(f"{len(left_at)} cancelled; left within {p99_s * 1e3:.1f} ms (p99)")
    if not alike:
        assert all(taken_at < left_at.get(number, math.inf) for taken_at, number in model.taken)
    assert len(left_at) > calls // 10
    assert answered == calls - len(left_at)
    assert_empty(batcher)
