"""The queue under its lock, with a clock that the test holds and no thread."""

import asyncio
from collections.abc import Sequence

import pytest

from finesieve_server.batching.cost import CostModel, Sample
from finesieve_server.batching.plan import BatchLimits, Job, WaitingWork
from finesieve_server.batching.shared_queue import Caller, SharedQueue, Started
from finesieve_server.batching.work import Work
from finesieve_server.errors import DeadlineTooShort
from finesieve_server.telemetry import Metrics


class Bench:
    """A queue whose batches hold one item each, which takes a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.given_up: list[tuple[Caller, int]] = []
        samples = [Sample(1, 50, 0.51), Sample(1, 100, 1.01), Sample(2, 100, 2.01)]
        costs = {"model": CostModel(samples)}
        waiting = WaitingWork(costs, BatchLimits(max_tokens=100, max_s=10.0))
        self.queue = SharedQueue(waiting, costs, Metrics(), lambda: self.now)

    def enter(
        self,
        items: int,
        deadline: float,
        partial: bool = False,
        keys: Sequence[bytes] | None = None,
    ) -> Caller:
        work = Work("model", [[0] * 100] * items, deadline, partial=partial, keys=keys)
        caller = Caller(work, self.now, asyncio.get_running_loop().create_future())
        self.queue.enter(caller, range(items))
        return caller

    def take(self) -> Started:
        started = self.queue.next_batch(lambda *given_up: self.given_up.append(given_up))
        assert started is not None
        return started


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_a_partial_caller_is_owed_what_still_runs_when_the_rest_is_given_up(
    bench: Bench,
) -> None:
    hurried = bench.enter(items=3, deadline=4.0, partial=True)
    assert bench.take().places[0][0].caller is hurried
    other = bench.enter(items=1, deadline=20.0)

    bench.now = 3.5

    assert bench.take().places[0][0].caller is other
    assert bench.given_up == [(hurried, 2)]
    assert hurried.outstanding == 3  # one runs; the two are taken off by whoever is told


async def test_a_row_that_nobody_waits_for_any_more_is_not_wanted(bench: Bench) -> None:
    caller = bench.enter(items=1, deadline=5.0)
    started = bench.take()
    assert bench.queue.is_wanted(started, 0)

    bench.now = 5.0
    assert not bench.queue.is_wanted(started, 0)

    bench.now = 1.0
    caller.finished.cancel()
    assert not bench.queue.is_wanted(started, 0)


async def test_a_twin_of_a_row_that_was_not_wanted_waits_for_one_of_its_own(bench: Bench) -> None:
    bench.enter(items=1, deadline=5.0, keys=[b"x"]).finished.cancel()
    first = bench.take()
    assert not bench.queue.is_wanted(first, 0)

    bench.enter(items=1, deadline=5.0, keys=[b"x"])
    second = bench.take()
    bench.queue.finish(first)
    twin = bench.enter(items=1, deadline=5.0, keys=[b"x"])

    assert [place.caller for place in second.places[0]][1:] == [twin]


async def test_a_caller_whose_twins_all_run_needs_no_time_of_the_device(bench: Bench) -> None:
    bench.enter(items=1, deadline=5.0, keys=[b"x"])
    bench.take()

    twin = bench.enter(items=1, deadline=0.5, keys=[b"x"])
    with pytest.raises(DeadlineTooShort):
        bench.enter(items=1, deadline=0.5, keys=[b"y"])

    assert (twin.outstanding, twin.job) == (1, None)
    bench.queue.leave(twin)


async def test_work_without_items_needs_no_room(bench: Bench) -> None:
    with bench.queue.room_for(Job("model", [], deadline=0.0)):
        pass
