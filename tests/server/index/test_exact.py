"""Comparing in blocks changes no bit and bounds the memory that it takes."""

import tracemalloc

import numpy as np
import pytest

from finesieve_server.index.exact import BLOCK_ROWS, ranked, ranked_rows
from finesieve_server.index.records import Distance

DIMENSION = 64
BLOCK_BYTES = BLOCK_ROWS * DIMENSION * 4


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("count", [1, 1_000, 3_000])
def test_many_queries_are_ranked_block_by_block_as_each_alone(
    distance: Distance, count: int
) -> None:
    random = np.random.default_rng(count)
    vectors = random.standard_normal((4_000, DIMENSION)).astype(np.float32)
    queries = random.standard_normal((32, DIMENSION)).astype(np.float32)
    slots = np.stack([random.choice(4_000, count, replace=False) for _ in queries])

    tracemalloc.start()
    rankings = ranked_rows(distance, queries, vectors, slots)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    for query, own, (found, scores) in zip(queries, slots, rankings, strict=True):
        alone, alone_scores = ranked(distance, query, vectors, own, count)
        assert found.tolist() == alone.tolist()
        assert scores.tobytes() == alone_scores.tobytes()
    answers_bytes = sum(found.nbytes + scores.nbytes for found, scores in rankings)
    assert peak_bytes < 4 * BLOCK_BYTES + 2 * answers_bytes
