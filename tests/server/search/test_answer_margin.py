"""How long before its deadline a partial call is answered."""

import random

import pytest

from finesieve_server.search.answer_margin import AnswerMargin


def test_it_settles_where_one_answer_in_a_hundred_is_late() -> None:
    margin, chance, late = AnswerMargin(), random.Random(1), 0
    for number in range(40_000):
        spare_s = margin.of(10.0) - chance.expovariate(
            1 / 0.02
        )  # the machine is late by some 20 ms
        late += number >= 10_000 and spare_s < 0.005
        margin.observe(10.0, spare_s)

    assert late / 30_000 == pytest.approx(0.01, abs=0.002)


def test_it_stays_within_bounds() -> None:
    quiet, stalled = AnswerMargin(), AnswerMargin()
    for _ in range(1_000):
        quiet.observe(10.0, 1.0)
        stalled.observe(10.0, -1.0)

    assert quiet.of(10.0) == 0.01
    assert stalled.of(10.0) == 0.25


def test_calls_too_short_for_the_margin_neither_wait_for_it_nor_move_it() -> None:
    margin = AnswerMargin()
    before_s = margin.of(10.0)

    for _ in range(1_000):
        margin.observe(0.01, -0.01)

    assert margin.of(0.01) == pytest.approx(0.0025)
    assert margin.of(10.0) == before_s
