"""How the two stages' scores become one order."""

import numpy as np
import pytest

from finesieve_server.search.blend import blend

LOGITS = np.array([4.0, -2.0, 1.0])
FIRST_STAGE = np.array([0.1, 0.9, 0.2])


def test_weight_zero_orders_by_the_cross_encoder_and_one_by_the_first_stage() -> None:
    assert list(np.argsort(-blend(LOGITS, FIRST_STAGE, 0.0))) == [0, 2, 1]
    assert list(np.argsort(-blend(LOGITS, FIRST_STAGE, 1.0))) == [1, 2, 0]


def test_both_scores_are_standardised_so_that_their_scales_do_not_matter() -> None:
    blended = blend(LOGITS, FIRST_STAGE, 0.5)

    assert blend(LOGITS * 100 + 7, FIRST_STAGE * 0.01 - 3, 0.5) == pytest.approx(blended)
    assert blended.mean() == pytest.approx(0.0)


def test_a_stage_that_finds_all_alike_says_nothing() -> None:
    assert blend(LOGITS, np.full(3, 0.1), 0.5) == pytest.approx(blend(LOGITS, LOGITS, 0.5) / 2)


def test_one_candidate_has_a_finite_score() -> None:
    assert blend(np.array([3.0]), np.array([0.4]), 0.5) == pytest.approx([0.0])
