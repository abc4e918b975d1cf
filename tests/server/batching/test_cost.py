"""What a batch is predicted to cost."""

import random

import pytest

from finesieve_server.batching.cost import CostModel, Sample

SHAPES = ((1, 16), (4, 16), (1, 64), (4, 64), (1, 128), (4, 128), (1, 256))


def truth(rows: int, tokens: int) -> float:
    return 0.001 + rows * (0.0001 * tokens + 0.0000002 * tokens**2)


def fitted() -> CostModel:
    return CostModel([Sample(*shape, truth(*shape)) for shape in SHAPES])


def test_the_shape_that_warm_up_saw_is_predicted() -> None:
    cost = fitted()

    assert cost.batch_s(8, 512) == pytest.approx(truth(8, 512))
    assert cost.fixed_s == pytest.approx(0.001)
    assert cost.row_s(100) == pytest.approx(truth(1, 100) - 0.001)


def test_a_device_that_became_twice_as_slow_is_believed_after_some_batches() -> None:
    cost = fitted()

    for _ in range(50):
        cost.observe(Sample(4, 100, 2 * truth(4, 100)))

    assert cost.batch_s(1, 300) == pytest.approx(2 * truth(1, 300), rel=0.02)


def test_one_odd_batch_hardly_moves_the_prediction() -> None:
    cost = fitted()

    cost.observe(Sample(4, 100, 3 * truth(4, 100)))

    assert cost.batch_s(4, 100) < 1.3 * truth(4, 100)


def test_a_process_that_was_stopped_during_a_batch_does_not_think_the_device_slow() -> None:
    cost = fitted()

    cost.observe(Sample(4, 100, 15.0))

    assert cost.batch_s(4, 100) < 1.2 * truth(4, 100)


def test_what_an_idle_device_takes_is_not_raised_by_a_slow_hour() -> None:
    cost = fitted()
    least_s = cost.least_row_s(100)

    for _ in range(50):
        cost.observe(Sample(4, 100, 2 * cost.batch_s(4, 100)))

    assert cost.row_s(100) > 2 * least_s
    assert cost.least_row_s(100) == pytest.approx(least_s)


def test_batches_of_one_shape_do_not_unlearn_the_others() -> None:
    cost = fitted()

    for _ in range(1000):
        cost.observe(Sample(4, 64, truth(4, 64)))

    assert cost.batch_s(2, 512) == pytest.approx(truth(2, 512))


@pytest.mark.parametrize("seed", range(50))
def test_however_noisy_the_warm_up_nothing_is_free_and_more_costs_more(seed: int) -> None:
    chance = random.Random(seed)
    cost = CostModel([Sample(*shape, truth(*shape) * chance.uniform(1, 5)) for shape in SHAPES])

    assert cost.fixed_s > 0
    assert 0 < cost.row_s(1) < cost.row_s(2) < cost.row_s(512)
    assert cost.batch_s(1, 64) < cost.batch_s(2, 64)
