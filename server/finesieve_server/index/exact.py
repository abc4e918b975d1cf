"""Compare queries with vectors one by one: the truth that the graph approximates. Pure.

Scores are cosine or dot product, or minus the squared L2 distance: higher is better. The same pair
has the same bits in any company, so that graph and exact search agree. That rules out a product of
matrices; and OpenBLAS, whose threads wait for each other, took 17 ms on busy cores where this took
0.1 (one query, 2,000 vectors of 384; benchmarks/retrieval).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.records import Distance, Embedding, Matrix, Scores

Slots = NDArray[np.int64]
Ranking = tuple[Slots, Scores]  # best first; of equals, the older slot

BLOCK_ROWS = 2_048  # stay in the cache for the next query


def nearest_of(
    distance: Distance,
    queries: Matrix,
    vectors: Matrix,
    slots: Slots,
    count: int,
    require_wanted: Callable[[], None],
) -> list[Ranking]:
    """Return per query the `count` nearest of the slots, which ascend; vectors[slot] is one's.

    It takes long; what `require_wanted` raises between two blocks ends it.
    """
    nothing = (np.empty(0, np.int64), np.empty(0, np.float32))
    best: list[Ranking] = [nothing for _ in queries]
    for first in range(0, len(slots), BLOCK_ROWS):
        require_wanted()
        block = slots[first : first + BLOCK_ROWS]
        start, stop = int(block[0]), int(block[-1]) + 1
        # Neighbours are compared where they lie, others are gathered first.
        rows = vectors[start:stop] if stop - start == len(block) else vectors[block]
        for row, query in enumerate(queries):
            found, scores = best[row]
            best[row] = largest(
                np.concatenate([found, block]),
                np.concatenate([scores, scores_of(distance, query, rows)]),
                count,
            )
    return [_ordered(*ranking) for ranking in best]


def ranked(
    distance: Distance, query: Embedding, vectors: Matrix, slots: Slots, count: int
) -> Ranking:
    """Return the `count` best of the slots, in any order, with their scores."""
    found, scores = _ordered(slots, scores_of(distance, query, vectors[slots]))
    return found[:count], scores[:count]


def ranked_rows(
    distance: Distance, queries: Matrix, vectors: Matrix, slots: Slots
) -> list[Ranking]:
    """Return the ranking of as many slots for each query, (queries, slots)."""
    at_once = max(1, BLOCK_ROWS // max(1, slots.shape[1]))  # queries, with all that they gather
    rankings: list[Ranking] = []
    for first in range(0, len(queries), at_once):
        some = slots[first : first + at_once]
        found, scores = _ordered(
            some, _scores(distance, queries[first : first + at_once], vectors[some])
        )
        rankings += zip(found, scores, strict=True)
    return rankings


def scores_of(distance: Distance, query: Embedding, vectors: Matrix) -> Scores:
    """Return the score of one query with each vector."""
    return np.asarray(_scores(distance, query[None], vectors[None])[0])


def _scores(distance: Distance, queries: Matrix, vectors: NDArray[np.float32]) -> Scores:
    """Return scores of shape (queries, vectors); vectors: (queries, vectors, dimension)."""
    # einsum adds up each pair by itself and in one order.
    if distance is Distance.L2:
        difference = vectors - queries[:, None]
        scores: Scores = np.einsum("qvd,qvd->qv", difference, difference)
        return np.negative(scores, out=scores)
    return np.asarray(np.einsum("qvd,qd->qv", vectors, queries))


def largest(slots: Slots, scores: Scores, count: int) -> Ranking:
    """Return the slots of the largest scores, in their order; of equals, the first."""
    if len(scores) <= count:
        return slots, scores
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    kept = scores > least
    equal = np.flatnonzero(scores == least)
    kept[equal[: count - np.count_nonzero(kept)]] = True
    return slots[kept], scores[kept]


def _ordered(slots: Slots, scores: Scores) -> Ranking:
    """Return each row best first; slots and scores are alike, of one or two dimensions."""
    order = np.lexsort((slots, -scores))
    return np.take_along_axis(slots, order, -1), np.take_along_axis(scores, order, -1)
