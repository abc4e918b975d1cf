"""Who is let in while the work of others is still being prepared."""

from contextlib import ExitStack

import pytest

from finesieve_server.batching.cost import CostModel, Sample
from finesieve_server.batching.plan import BatchLimits, Job, WaitingWork
from finesieve_server.batching.shared_queue import SharedQueue
from finesieve_server.errors import Overloaded
from finesieve_server.telemetry import Metrics

# A second for a thousand tokens.
COSTS = {
    "m": CostModel(
        [Sample(rows, tokens, 0.001 + rows * tokens / 1e3) for rows in (1, 4) for tokens in (8, 64)]
    )
}


@pytest.fixture
def queue() -> SharedQueue:
    waiting = WaitingWork(COSTS, BatchLimits(max_tokens=1000, max_s=1.0))
    return SharedQueue(waiting, COSTS, Metrics(), clock=lambda: 100.0)


def job(tokens: int, *, within_s: float, tenant: str = "default") -> Job:
    return Job("m", [tokens], 100.0 + within_s, tenant=tenant)


def test_what_others_prepare_counts_as_waiting_until_they_are_ready(queue: SharedQueue) -> None:
    with queue.room_for(job(600, within_s=1.0)):
        with pytest.raises(Overloaded, match="late"), queue.room_for(job(600, within_s=1.0)):
            pass
        with queue.room_for(job(600, within_s=2.0)):
            pass

    with queue.room_for(job(600, within_s=1.0)):
        pass


def test_work_that_failed_while_it_was_prepared_counts_no_more(queue: SharedQueue) -> None:
    with pytest.raises(KeyError), queue.room_for(job(600, within_s=1.0)):
        raise KeyError

    with queue.room_for(job(600, within_s=1.0)):
        pass


def test_a_tenant_that_prepares_much_does_not_keep_another_out(queue: SharedQueue) -> None:
    with queue.room_for(job(5_000, within_s=9.0, tenant="loud")):
        with queue.room_for(job(200, within_s=1.0, tenant="quiet")):
            pass
        with (
            pytest.raises(Overloaded, match="late"),
            queue.room_for(job(200, within_s=1.0, tenant="loud")),
        ):
            pass


def test_work_is_let_in_only_with_time_to_spare(queue: SharedQueue) -> None:
    before, need_s = job(500, within_s=9.0), 1.25 * (0.1 + 0.5)

    with queue.room_for(before):
        with pytest.raises(Overloaded, match="late"), queue.room_for(job(100, within_s=need_s)):
            pass
        with queue.room_for(job(100, within_s=1.3 * need_s)):
            pass


def test_what_others_prepare_is_shared_by_the_devices() -> None:
    waiting = WaitingWork(COSTS, BatchLimits(max_tokens=1000, max_s=1.0), devices=8)
    queue = SharedQueue(waiting, COSTS, Metrics(), clock=lambda: 100.0)

    with ExitStack() as rooms:
        for _ in range(8):
            rooms.enter_context(queue.room_for(job(500, within_s=2.0)))


def test_what_others_prepare_fills_the_queue() -> None:
    limits = BatchLimits(max_tokens=1000, max_s=1.0, max_waiting_tokens=1000)
    queue = SharedQueue(WaitingWork(COSTS, limits), COSTS, Metrics(), clock=lambda: 100.0)

    with (
        queue.room_for(job(400, within_s=9.0)),
        pytest.raises(Overloaded, match="full"),
        queue.room_for(job(400, within_s=9.0)),
    ):
        pass
