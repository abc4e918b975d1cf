"""The scores are BM25's, to the digits of a float, and the best are the best."""

import math

import numpy as np
import pytest

from finesieve_server.index.bm25 import K1, B, best_of, scores_of


def test_scores_are_those_of_the_formula() -> None:
    lengths = [np.array([10, 20, 0], np.uint16), np.array([30], np.uint16)]
    rare = [(np.array([1], np.uint16), np.array([3], np.uint8)), nothing()]
    common = [
        (np.array([0, 1, 2], np.uint16), np.array([1, 1, 9], np.uint8)),
        (np.array([0], np.uint16), np.array([2], np.uint8)),
    ]

    first, second = scores_of(lengths, [rare, common])

    def expected(length: int, repeated: int, having: int) -> float:
        rarity = math.log(1 + (3 - having + 0.5) / (having + 0.5))
        return rarity * repeated * (K1 + 1) / (repeated + K1 * (1 - B + B * length / 20))

    assert first == pytest.approx(
        [expected(10, 1, 3), expected(20, 3, 1) + expected(20, 1, 3), 0], rel=1e-6
    ), "the third passage is gone: it has no score, and does not make a word less rare"
    assert second == pytest.approx([expected(30, 2, 3)], rel=1e-6)


def test_of_no_passages_nothing_is_best() -> None:
    places, scores = best_of(scores_of([], [[]]), 10)

    assert len(places) == len(scores) == 0


@pytest.mark.parametrize("count", [1, 7, 100, 10_000])
def test_the_best_of_all_segments_come_in_order_and_of_equals_the_first(count: int) -> None:
    random = np.random.default_rng(3)
    scores = [random.integers(0, 50, size).astype(np.float32) for size in (300, 1, 2000, 40)]

    places, best = best_of(scores, count)

    flat = np.concatenate(scores)
    order = np.argsort(-flat, kind="stable")
    expected = order[flat[order] > 0][:count]
    assert places.tolist() == expected.tolist()
    assert best.tolist() == flat[expected].tolist()


def nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.empty(0, np.uint16), np.empty(0, np.uint8)
