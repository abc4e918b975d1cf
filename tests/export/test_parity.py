"""The figures of a parity report, and what counts as a miss."""

from dataclasses import replace

import numpy as np
import pytest

from finesieve_export.errors import ToleranceMissed
from finesieve_export.parity import TOLERANCES, check, compare
from finesieve_export.real_text import read_questions


def test_equal_scores_are_at_parity() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)

    parity = compare(scores, scores)

    assert (parity.largest_error, parity.mean_error) == (0, 0)
    assert parity.rank_correlation == pytest.approx(1)
    assert parity.top_10_overlap == 1


def test_reversed_scores_correlate_negatively_and_share_no_top() -> None:
    scores = np.arange(40, dtype=np.float32)[None]

    parity = compare(scores, -scores)

    assert parity.rank_correlation == pytest.approx(-1)
    assert parity.top_10_overlap == 0
    assert parity.largest_error == 78


def test_every_missed_figure_is_named() -> None:
    scores = np.arange(40, dtype=np.float32)[None]

    with pytest.raises(ToleranceMissed) as caught:
        check(compare(scores, -scores), TOLERANCES["int8"])

    for figure in ("largest error", "rank correlation", "top-10 overlap"):
        assert figure in str(caught.value)


def test_no_number_is_a_miss() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
    parity = replace(compare(scores, scores), largest_error=float("nan"))

    with pytest.raises(ToleranceMissed, match="largest error"):
        check(parity, TOLERANCES["fp32"])


def test_the_text_is_real_various_and_the_same_each_time() -> None:
    questions = read_questions(200)

    assert len(questions) == 200
    assert len({question.query for question in questions}) == 200
    assert questions == read_questions(200)
