"""The device's queue with a fake model: who is answered, with what, and when not."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits, Priority
from finesieve_server.batching.work import Done, Work
from finesieve_server.errors import (
    DeadlineExceeded,
    DeadlineTooShort,
    ModelFailure,
    Overloaded,
)
from finesieve_server.telemetry import Metrics


class Lengths:
    """A model whose answer to an item is its length; it can be held, and it fails on request."""

    max_tokens = 4096

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def run(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        self.started.release()
        self.gate.wait()
        self.batches.append([len(item) for item in batch])
        if any(item[0] == RAISE for item in batch):
            raise ModelFailure("this item spoils its batch")
        if any(item[0] == BUG for item in batch):
            raise ValueError("nobody thought of this")
        return np.array(
            [np.nan if item[0] == NAN else len(item) for item in batch], dtype=np.float32
        )

    def example(self, tokens: int) -> list[int]:
        return [0] * tokens

    def hold(self) -> None:
        while self.started.acquire(blocking=False):
            pass
        self.gate.clear()

    async def wait_until_running(self) -> None:
        await asyncio.to_thread(self.started.acquire)


RAISE, NAN, BUG = -1, -2, -3


@pytest.fixture
def model() -> Lengths:
    return Lengths()


@pytest.fixture
async def batcher(model: Lengths) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        [{"lengths": model}],
        BatchLimits(max_tokens=1024, max_s=10.0, max_waiting_tokens=10_000),
        score_cache_bytes=0,
        metrics=Metrics(),
    )
    await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
    model.batches.clear()
    yield batcher
    model.gate.set()
    await asyncio.to_thread(batcher.close)


def work(*lengths: int, mark: int = 0, seconds: float = 30.0, partial: bool = False) -> Work:
    items = [[mark] * length for length in lengths]
    return Work("lengths", items, time.monotonic() + seconds, partial=partial)


def logits(done: Done) -> list[float]:
    return [float(row) for row in done.rows if isinstance(row, np.float32)]


async def test_rows_come_back_in_the_order_of_the_work(batcher: Batcher) -> None:
    done = await batcher.run(work(5, 90, 7, 400))

    assert logits(done) == [5, 90, 7, 400]


async def test_no_items_are_answered_at_once(batcher: Batcher) -> None:
    assert (await batcher.run(work())).rows == ()


async def test_callers_that_wait_together_share_a_batch(batcher: Batcher, model: Lengths) -> None:
    model.hold()
    first = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()

    others = [asyncio.create_task(batcher.run(work(100))) for _ in range(3)]
    await asyncio.sleep(0)
    model.gate.set()
    await asyncio.gather(first, *others)

    assert model.batches == [[50], [100, 100, 100]]


async def test_a_cancelled_caller_leaves_its_batch_mates_answered(
    batcher: Batcher, model: Lengths
) -> None:
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()
    gone = asyncio.create_task(batcher.run(work(60, 61)))
    stays = asyncio.create_task(batcher.run(work(62)))
    await asyncio.sleep(0)

    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    model.gate.set()
    await asyncio.gather(running, stays)

    assert model.batches == [[50], [62]]


async def test_a_caller_cancelled_while_its_batch_runs_leaves_its_mates_answered(
    batcher: Batcher, model: Lengths
) -> None:
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()
    gone, stays = (asyncio.create_task(batcher.run(work(60))) for _ in range(2))
    await asyncio.sleep(0)
    model.gate.set()
    await running
    gone.cancel()

    assert logits(await stays) == [60]


@pytest.mark.parametrize("mark", [RAISE, BUG])
async def test_one_item_that_spoils_its_batch_fails_alone(
    batcher: Batcher, model: Lengths, mark: int
) -> None:
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()
    bad = asyncio.create_task(batcher.run(work(60, mark=mark)))
    good = asyncio.create_task(batcher.run(work(60)))
    await asyncio.sleep(0)
    model.gate.set()
    await running

    assert isinstance((await bad).rows[0], ModelFailure)
    assert logits(await good) == [60]


async def test_a_value_that_is_not_finite_fails_that_item_alone(batcher: Batcher) -> None:
    items = [[0] * 5, [NAN] * 5, [0] * 6]

    done = await batcher.run(Work("lengths", items, time.monotonic() + 30))

    assert [isinstance(row, ModelFailure) for row in done.rows] == [False, True, False]


async def test_a_deadline_that_an_idle_device_could_not_keep_is_refused_at_once(
    batcher: Batcher, model: Lengths
) -> None:
    with pytest.raises(DeadlineTooShort, match="idle server"):
        await batcher.run(work(*[1000] * 9, seconds=1e-6))
    assert model.batches == []


async def test_partial_work_that_not_even_an_idle_device_could_do_does_not_queue(
    batcher: Batcher, model: Lengths
) -> None:
    done = await batcher.run(work(*[4000] * 50_000, seconds=1e-3, partial=True))

    assert len(done.rows) == 50_000
    assert sum(row is None for row in done.rows) > 49_000


async def test_a_full_queue_refuses_with_a_time_to_come_back(
    batcher: Batcher, model: Lengths
) -> None:
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()
    waiting = asyncio.create_task(batcher.run(work(*[1000] * 10)))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refusal:
        await batcher.run(work(50))

    assert refusal.value.retry_after_s is not None
    model.gate.set()
    await asyncio.gather(running, waiting)


async def test_bulk_work_leaves_room_in_the_queue_to_interactive_work(
    batcher: Batcher, model: Lengths
) -> None:
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()
    bulk = replace(work(*[1000] * 4), priority=Priority.BULK)
    waiting = asyncio.create_task(batcher.run(bulk))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded, match="full"):
        await batcher.run(bulk)
    person = asyncio.create_task(batcher.run(work(10)))
    await asyncio.sleep(0)
    model.gate.set()

    await asyncio.gather(running, waiting, person)
    assert logits(person.result()) == [10]


async def test_a_deadline_that_passes_in_the_queue_is_exceeded_and_its_work_not_started(
    batcher: Batcher, model: Lengths
) -> None:
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()

    with pytest.raises(DeadlineExceeded):
        await batcher.run(work(60, seconds=0.05))
    model.gate.set()
    await running

    assert model.batches == [[50]]


async def test_partial_work_is_answered_by_its_deadline_with_what_is_done(
    batcher: Batcher, model: Lengths
) -> None:
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()

    done = await batcher.run(work(60, 70, seconds=0.05, partial=True))

    assert done.rows == (None, None)
    model.gate.set()
    await running
