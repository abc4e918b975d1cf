"""Scores that are kept: exact, bounded, the least recently used out first."""

import tracemalloc

import numpy as np
import pytest

from finesieve_server.batching.score_cache import ENTRY_BYTES, ScoreCache


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_kept_score_comes_back_to_the_bit() -> None:
    scores = ScoreCache(max_bytes=10 * ENTRY_BYTES)
    score = np.float32(0.1) + np.float32(1e-8)

    scores.put(key(1), score)

    assert scores.get(key(1)) == score
    assert scores.get(key(2)) is None


def test_the_least_recently_used_goes_first() -> None:
    scores = ScoreCache(max_bytes=2 * ENTRY_BYTES)
    scores.put(key(1), np.float32(1))
    scores.put(key(2), np.float32(2))
    scores.get(key(1))

    scores.put(key(3), np.float32(3))

    assert [scores.get(key(each)) for each in (1, 2, 3)] == [1.0, None, 3.0]


def test_without_memory_nothing_is_kept() -> None:
    scores = ScoreCache(max_bytes=0)

    scores.put(key(1), np.float32(1))

    assert scores.get(key(1)) is None
    assert len(scores) == 0


# The dictionary's table doubles: sizes just before and just after it does.
@pytest.mark.parametrize("entries", [1_000, 5_461, 5_462, 10_900, 16_000, 21_900])
def test_full_and_for_ever_renewed_it_keeps_to_its_bytes(entries: int) -> None:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    scores = ScoreCache(max_bytes=entries * ENTRY_BYTES)
    for number in range(4 * entries):
        scores.put(key(number), np.float32(number))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(scores) == entries
    assert 0.5 * entries * ENTRY_BYTES < peak - before <= entries * ENTRY_BYTES
