"""Compare queries with vectors one by one: the truth that the graph approximates. Pure.

Scores are cosine or dot product, or minus the squared L2 distance: higher is better.
"""

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.records import Distance, Matrix, Scores

Slots = NDArray[np.int64]
Ranking = tuple[Slots, Scores]  # best first

SPARE = 8  # kept beyond the count where fast scores choose: their last bits may err
BLOCK_SCORES = 1 << 20  # of one matrix product
BLOCK_ROWS = 16_384


def nearest_of(
    distance: Distance, queries: Matrix, vectors: Matrix, slots: Slots, count: int
) -> list[Slots]:
    """Return per query the nearest of the slots, unordered, and a few to spare.

    `vectors` is indexed by slot; slots ascend.
    """
    best = [np.empty(0, np.int64) for _ in queries]
    scores = [np.empty(0, np.float32) for _ in queries]
    rows = min(BLOCK_ROWS, max(256, BLOCK_SCORES // max(1, len(queries))))
    for first in range(0, len(slots), rows):
        block = slots[first : first + rows]
        start, stop = int(block[0]), int(block[-1]) + 1
        # Neighbours are compared where they lie, others are gathered first.
        dense = stop - start == len(block)
        near = _products(distance, queries, vectors[start:stop] if dense else vectors[block])
        for row in range(len(queries)):
            both = np.concatenate([scores[row], near[row]])
            kept = _largest(both, count + SPARE)
            best[row] = np.concatenate([best[row], block])[kept]
            scores[row] = both[kept]
    return best


def ranked(distance: Distance, query: Matrix, vectors: Matrix, slots: Slots, count: int) -> Ranking:
    """Return the `count` best of the slots with their scores, best first, older slots before."""
    scores = scores_of(distance, query[None], vectors[slots][None])[0]
    order = np.lexsort((slots, -scores))[:count]
    return slots[order], scores[order]


def scores_of(distance: Distance, queries: Matrix, vectors: Matrix) -> Scores:
    """Return the scores of each query with vectors of its own: the same bits in any company.

    Shapes: (queries, dimension), (queries, vectors, dimension); (queries, vectors).
    """
    # einsum adds up each pair by itself and in one order; a product of matrices does not.
    if distance is Distance.L2:
        difference = vectors - queries[:, None]
        return -np.asarray(np.einsum("qvd,qvd->qv", difference, difference))
    return np.asarray(np.einsum("qvd,qd->qv", vectors, queries))


def _products(distance: Distance, queries: Matrix, vectors: Matrix) -> Scores:
    """Return the scores of every query with every vector, fast: good to choose by, not to give."""
    if distance is not Distance.L2:
        return np.asarray(queries @ vectors.T)
    scores = np.empty((len(queries), len(vectors)), np.float32)
    for row, query in enumerate(queries):
        # The difference itself: q² + x² − 2qx loses what tells near vectors apart.
        difference = vectors - query
        np.einsum("ij,ij->i", difference, difference, out=scores[row])
    return np.negative(scores, out=scores)


def _largest(scores: Scores, count: int) -> NDArray[np.int64]:
    if len(scores) <= count:
        return np.arange(len(scores))
    return np.asarray(np.argpartition(scores, len(scores) - count)[-count:])
