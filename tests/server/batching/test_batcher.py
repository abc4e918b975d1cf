"""The device's queue with a fake model: who is answered, with what, and when not."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits, Priority
from finesieve_server.batching.work import Work
from finesieve_server.errors import (
    DeadlineExceeded,
    DeadlineTooShort,
    ModelFailure,
    Overloaded,
)
from finesieve_server.telemetry import Metrics
from tests.server.batching.fakes import BUG, NAN, RAISE, Lengths, logits, work


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


async def test_what_would_be_refused_is_refused_before_it_is_prepared(
    batcher: Batcher, model: Lengths
) -> None:
    deadline = time.monotonic() + 30
    with batcher.room_for("lengths", [10_000_000], deadline):
        pass  # nothing waits

    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()
    waiting = asyncio.create_task(batcher.run(work(*[1000] * 4)))
    await asyncio.sleep(0)

    with batcher.room_for("lengths", [1000] * 2, deadline):
        pass
    with (
        pytest.raises(Overloaded, match="full"),
        batcher.room_for("lengths", [1000] * 8, deadline),
    ):
        pass
    with (
        pytest.raises(Overloaded, match="late") as refusal,
        batcher.room_for("lengths", [1000], time.monotonic()),
    ):
        pass
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s >= 0.05
    model.gate.set()
    await asyncio.gather(running, waiting)
    assert model.batches == [[50], [1000], [1000], [1000], [1000]]


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


@pytest.mark.parametrize(("devices", "in_flight"), [(2, 1), (1, 2), (2, 2)])
async def test_every_device_runs_as_many_batches_at_once_as_asked(
    devices: int, in_flight: int
) -> None:
    models = [Lengths() for _ in range(devices)]
    batcher = Batcher(
        [{"lengths": each} for each in models],
        BatchLimits(max_tokens=100, max_s=10.0),
        in_flight=in_flight,
        score_cache_bytes=0,
        metrics=Metrics(),
    )
    await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
    for each in models:
        each.hold()

    done = asyncio.create_task(batcher.run(work(*[100] * 2 * devices * in_flight)))
    for each in models:
        for _ in range(in_flight):
            await each.wait_until_running()
        assert not each.started.acquire(blocking=False)
        each.gate.set()

    assert logits(await done) == [100] * 2 * devices * in_flight
    await asyncio.to_thread(batcher.close)
