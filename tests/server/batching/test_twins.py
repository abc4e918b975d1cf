"""Work of one key is done once: in the queue, on the device, and after."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits
from finesieve_server.errors import DeadlineExceeded, ModelFailure, Overloaded
from finesieve_server.telemetry import Metrics
from tests.server.batching.fakes import NAN, RAISE, Lengths, logits, work


@pytest.fixture
def model() -> Lengths:
    return Lengths()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def batcher(model: Lengths, metrics: Metrics) -> AsyncIterator[Batcher]:
    batcher = Batcher(
        [{"lengths": model}],
        BatchLimits(max_tokens=1024, max_s=10.0, max_waiting_tokens=1_000),
        score_cache_bytes=2**20,
        metrics=metrics,
    )
    await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
    model.batches.clear()
    yield batcher
    model.gate.set()
    await asyncio.to_thread(batcher.close)


async def held(batcher: Batcher, model: Lengths) -> "asyncio.Task[object]":
    """Keep the device busy with a pair of 50 tokens, so that what follows waits."""
    model.hold()
    running = asyncio.create_task(batcher.run(work(50)))
    await model.wait_until_running()
    return running


async def test_pairs_that_wait_alike_are_scored_once(batcher: Batcher, model: Lengths) -> None:
    running = await held(batcher, model)
    callers = [
        asyncio.create_task(batcher.run(work(60, 70, keys=[b"x", each]))) for each in (b"y", b"z")
    ]
    await asyncio.sleep(0)
    model.gate.set()
    first, second = await asyncio.gather(*callers)

    assert logits(first) == logits(second) == [60, 70]
    assert (first.shared, second.shared) == (0, 1)
    assert [sorted(each) for each in model.batches] == [[50], [60, 70, 70]]
    await running


async def test_a_pair_that_stands_twice_in_one_call_is_scored_once(
    batcher: Batcher, model: Lengths
) -> None:
    done = await batcher.run(work(60, 70, 60, keys=[b"x", b"y", b"x"]))

    assert logits(done) == [60, 70, 60]
    assert done.shared == 1
    assert model.batches == [[70, 60]]


async def test_a_pair_that_runs_already_is_waited_for(batcher: Batcher, model: Lengths) -> None:
    model.hold()
    first = asyncio.create_task(batcher.run(work(60, keys=[b"x"])))
    await model.wait_until_running()
    second = asyncio.create_task(batcher.run(work(60, keys=[b"x"])))
    await asyncio.sleep(0)
    model.gate.set()

    assert logits(await first) == logits(await second) == [60]
    assert (await second).shared == 1
    assert model.batches == [[60]]


@pytest.mark.parametrize("phase", ["waits", "runs"])
@pytest.mark.parametrize("gone", [0, 1])
async def test_a_cancelled_caller_does_not_take_its_twins_score_away(
    batcher: Batcher, model: Lengths, phase: str, gone: int
) -> None:
    running = await held(batcher, model)
    if phase == "runs":
        model.gate.set()
        await running
        model.hold()
    callers = [asyncio.create_task(batcher.run(work(60, keys=[b"x"]))) for _ in range(2)]
    await asyncio.sleep(0)
    if phase == "runs":
        await model.wait_until_running()

    callers[gone].cancel()
    await asyncio.sleep(0)
    model.gate.set()

    assert logits(await callers[1 - gone]) == [60]
    assert callers[gone].cancelled()
    await running


async def test_a_twin_keeps_its_own_deadline(batcher: Batcher, model: Lengths) -> None:
    running = await held(batcher, model)
    patient = asyncio.create_task(batcher.run(work(60, keys=[b"x"])))
    await asyncio.sleep(0)

    with pytest.raises(DeadlineExceeded):
        await batcher.run(work(60, keys=[b"x"], seconds=0.05))
    model.gate.set()

    assert logits(await patient) == [60]
    await running


@pytest.mark.parametrize("mark", [RAISE, NAN])
async def test_twins_share_a_failure_and_it_is_not_kept(
    batcher: Batcher, model: Lengths, mark: int
) -> None:
    running = await held(batcher, model)
    callers = [asyncio.create_task(batcher.run(work(60, mark=mark, keys=[b"x"]))) for _ in range(2)]
    await asyncio.sleep(0)
    model.gate.set()

    for done in await asyncio.gather(*callers):
        assert isinstance(done.rows[0], ModelFailure)
    assert logits(await batcher.run(work(60, keys=[b"x"]))) == [60]
    await running


async def test_a_kept_score_needs_no_device_and_no_room(
    batcher: Batcher, model: Lengths, metrics: Metrics
) -> None:
    await batcher.run(work(60, 70, keys=[b"x", b"y"]))
    running = await held(batcher, model)
    waiting = asyncio.create_task(batcher.run(work(1000)))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await batcher.run(work(60))
    done = await batcher.run(work(70, 60, keys=[b"y", b"x"]))

    assert logits(done) == [70, 60]
    assert (done.shared, done.queue_s) == (2, 0.0)
    assert metrics.registry.get_sample_value("finesieve_score_cache_hits_total") == 2
    assert metrics.registry.get_sample_value("finesieve_score_cache_misses_total") == 2
    assert metrics.registry.get_sample_value("finesieve_score_cache_entries") == 2
    model.gate.set()
    await asyncio.gather(running, waiting)


async def test_a_partial_call_is_answered_with_what_was_kept(
    batcher: Batcher, model: Lengths
) -> None:
    await batcher.run(work(70, keys=[b"y"]))
    running = await held(batcher, model)

    done = await batcher.run(work(60, 70, keys=[b"x", b"y"], seconds=0.05, partial=True))

    assert done.rows == (None, 70.0)
    model.gate.set()
    await running


async def test_work_without_keys_shares_nothing(batcher: Batcher, model: Lengths) -> None:
    await batcher.run(work(60))
    done = await batcher.run(work(60))

    assert done.shared == 0
    assert model.batches == [[60], [60]]
