"""What a batch is predicted to cost."""

import pytest

from finesieve_server.batching.cost import CostModel

FIXED_S, PER_TOKEN_S = 0.002, 0.0001


def line(tokens: int) -> float:
    return FIXED_S + PER_TOKEN_S * tokens


def fitted() -> CostModel:
    return CostModel([(tokens, line(tokens)) for tokens in (16, 128, 512, 2048)])


def test_the_line_that_warm_up_saw_is_predicted() -> None:
    cost = fitted()

    assert cost.predict_s(1000) == pytest.approx(line(1000))
    assert cost.per_token_s == pytest.approx(PER_TOKEN_S)
    assert cost.tokens_worth_a_batch == pytest.approx(FIXED_S / PER_TOKEN_S)


def test_a_device_that_became_twice_as_slow_is_believed_after_some_batches() -> None:
    cost = fitted()

    for _ in range(50):
        cost.observe(1024, 2 * line(1024))

    assert cost.predict_s(100) == pytest.approx(2 * line(100), rel=0.02)


def test_one_odd_batch_hardly_moves_the_prediction() -> None:
    cost = fitted()

    cost.observe(1024, 3 * line(1024))

    assert cost.predict_s(1024) < 1.3 * line(1024)


def test_batches_of_one_size_do_not_unlearn_the_line() -> None:
    cost = fitted()

    for _ in range(1000):
        cost.observe(512, line(512))

    assert cost.predict_s(2048) == pytest.approx(line(2048))


def test_noise_that_makes_small_batches_look_dear_gives_no_negative_price() -> None:
    cost = CostModel([(16, 0.5), (128, 0.01), (2048, 0.2)])

    assert cost.per_token_s > 0
    assert 0 <= cost.predict_s(0) < cost.predict_s(1) < cost.predict_s(5000)
