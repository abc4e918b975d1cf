"""One device: what batches cost, and what comes of a model that fails."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from finesieve_server.batching.cost import CostModel, Sample
from finesieve_server.batching.plan import Batch, BatchLimits, Job, WaitingWork
from finesieve_server.batching.runner import Runner
from finesieve_server.errors import ModelFailure
from finesieve_server.telemetry import Metrics
from tests.server.batching.fakes import RAISE, Lengths


class Clock:
    """Goes on when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Seen(CostModel):
    """Keeps what it is told of batches."""

    def __init__(self) -> None:
        super().__init__([Sample(1, 8, 1.0), Sample(2, 8, 1.5), Sample(1, 16, 1.8)])
        self.samples: list[Sample] = []

    def observe(self, batch: Sample) -> None:
        self.samples.append(batch)


class Timed(Lengths):
    """Takes 1 s a batch and 0.1 s a token of the test's clock."""

    max_tokens = 100

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def run(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        self._clock.now += 1.0 + 0.1 * len(batch) * max(map(len, batch))
        return super().run(batch)


class Dropping(Lengths):
    """Forgets the last row of what it is asked, of more than so many."""

    def __init__(self, keeps: int) -> None:
        super().__init__()
        self._keeps = keeps

    def run(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        rows = super().run(batch)
        return rows if len(rows) <= self._keeps else rows[:-1]


def batch(*lengths: int) -> Batch:
    work = WaitingWork({"model": Seen()}, BatchLimits(max_tokens=10**6, max_s=10**6))
    work.add(Job("model", lengths, deadline=10**9), now=0.0)
    taken = work.take_batch(0.0)
    assert taken is not None
    assert len(taken.items) == len(lengths)
    return taken


def run(model: Lengths, *items: list[int], wanted: bool = True) -> list[object]:
    runner = Runner({"model": model}, Metrics(), Clock())
    taken = batch(*map(len, items))
    return list(runner.run(taken, items, Seen(), lambda _: wanted))


def test_warm_up_learns_what_batches_cost_and_tries_the_largest_that_may_come() -> None:
    clock = Clock()
    model = Timed(clock)
    runner = Runner({"model": model}, Metrics(), clock)

    samples = runner.warm_up("model", BatchLimits(max_tokens=1000, max_s=90.0))

    assert [10] * 10 not in model.batches
    assert [100] * 8 in model.batches  # 81 s; nine would take longer than a batch may
    assert all(each.seconds == pytest.approx(1 + 0.1 * each.rows * each.tokens) for each in samples)


def test_a_model_that_cannot_run_the_largest_batch_fails_at_start_by_name() -> None:
    class Small(Timed):
        def run(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
            if sum(map(len, batch)) > 1000:
                raise MemoryError("no room for this")
            return super().run(batch)

    clock = Clock()
    runner = Runner({"model": Small(clock)}, Metrics(), clock)

    with pytest.raises(ModelFailure, match=r"'model' cannot run 12 rows of 100 tokens.*no room"):
        runner.warm_up("model", BatchLimits(max_tokens=1200, max_s=1e9))


def test_warm_up_takes_the_memory_of_as_many_batches_as_will_be_in_flight() -> None:
    class Together(Timed):
        """Has run something only once two were in it at a time."""

        both = threading.Barrier(2, timeout=30)

        def run(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
            if not self.batches:
                self.both.wait()
            return super().run(batch)

    clock = Clock()
    runner = Runner({"model": Together(clock)}, Metrics(), clock, in_flight=2)

    assert runner.warm_up("model", BatchLimits(max_tokens=100, max_s=100.0))


def test_a_model_that_gives_too_few_rows_fails_at_start() -> None:
    runner = Runner({"model": Dropping(keeps=1)}, Metrics(), Clock())

    with pytest.raises(ModelFailure, match="3 rows for 4 inputs"):
        runner.warm_up("model", BatchLimits(max_tokens=1024, max_s=10.0))


def test_rows_of_a_batch_that_lacks_one_are_not_told_apart_but_run_alone() -> None:
    assert run(Dropping(keeps=1), [0] * 5, [0] * 6) == [5.0, 6.0]


def test_a_model_that_gives_no_row_at_all_fails_every_item() -> None:
    rows = run(Dropping(keeps=0), [0] * 5, [0] * 6)

    assert [isinstance(row, ModelFailure) for row in rows] == [True, True]


def test_after_a_failed_batch_only_what_is_still_wanted_runs_alone() -> None:
    model = Lengths()

    assert run(model, [0] * 5, [RAISE] * 6, wanted=False) == [None, None]
    assert model.batches == [[5, 6]]


def test_a_batch_that_stood_behind_a_failed_one_does_not_count_its_time() -> None:
    clock, cost = Clock(), Seen()

    class FailsInside(Lengths):
        """Runs a batch that fails while another one is on its way."""

        def run(self, items: Sequence[list[int]]) -> NDArray[np.float32]:
            clock.now += 1.0
            if len(items) == 2:
                runner.run(batch(7), [[RAISE] * 7], cost, lambda _: True)
            return super().run(items)

    runner = Runner({"model": FailsInside()}, Metrics(), clock)
    clock.now += 5.0
    runner.run(batch(5, 5), [[0] * 5] * 2, cost, lambda _: True)

    assert [(each.rows, each.seconds) for each in cost.samples] == [(2, 0.0)]


def test_two_batches_in_flight_do_not_count_the_same_second_twice() -> None:
    clock, cost = Clock(), Seen()

    class Nested(Lengths):
        """Runs a second batch while the first one is on the device."""

        def run(self, items: Sequence[list[int]]) -> NDArray[np.float32]:
            if len(items) == 2:
                clock.now += 1.0
                runner.run(batch(7), [[0] * 7], cost, lambda _: True)
            clock.now += 8.0
            return super().run(items)

    runner = Runner({"model": Nested()}, Metrics(), clock)
    runner.run(batch(5, 5), [[0] * 5] * 2, cost, lambda _: True)

    assert [(each.rows, each.seconds) for each in cost.samples] == [(1, 8.0), (2, 8.0)]
