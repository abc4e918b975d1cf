"""Find the passages nearest to queries, under a filter or none: choose graph or exact search."""

import math

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.distances import Matrix
from finesieve_server.index.filters import Filter
from finesieve_server.index.reader import Reader
from finesieve_server.index.vectors import Vectors

Ranking = tuple[NDArray[np.int64], NDArray[np.float32]]  # labels and scores, best first

# Comparing all m matches costs about m, asking the graph about top_k * n / m; they meet where
# m is some sqrt(top_k * n). The factor is measured (benchmarks/retrieval.py).
FEW = 3.0


def nearest(
    reader: Reader,
    vectors: Vectors,
    queries: Matrix,
    top_k: int,
    *,
    candidates: int,
    exact: bool,
    condition: Filter | None,
    threads: int,
) -> list[Ranking]:
    """Return per query the labels of the nearest passages and their scores, best first."""
    if condition is None:
        if exact:
            found = vectors.exact(queries, top_k)
        else:
            found = vectors.nearest(queries, top_k, candidates, threads=threads)
        return [(vectors.labels_of(slots), scores) for slots, scores in found]
    few = int(FEW * math.sqrt(top_k * vectors.live_count)) + 1
    if exact or reader.count_matching(condition, few) < few:
        return _among_matches(reader, vectors, queries, top_k, condition)
    rankings = []
    for query in queries:
        ranking = _over_fetched(reader, vectors, query, top_k, candidates, condition)
        if ranking is None:
            [ranking] = _among_matches(reader, vectors, query[None], top_k, condition)
        rankings.append(ranking)
    return rankings


def _among_matches(
    reader: Reader, vectors: Vectors, queries: Matrix, top_k: int, condition: Filter
) -> list[Ranking]:
    matches = reader.labels_matching(condition)
    found = vectors.among(queries, matches, top_k)
    return [(vectors.labels_of(slots), scores) for slots, scores in found]


def _over_fetched(
    reader: Reader,
    vectors: Vectors,
    query: Matrix,
    top_k: int,
    candidates: int,
    condition: Filter,
) -> Ranking | None:
    """Ask the graph for more until enough of it matches; None where that costs more than all."""
    fetched = max(candidates, 2 * top_k)
    while fetched * 4 <= vectors.live_count:
        [(slots, scores)] = vectors.nearest(query[None], fetched, fetched, threads=1)
        labels = vectors.labels_of(slots)
        matching = np.isin(labels, reader.accepted(condition, labels))
        # The graph's last finds are its least sure: half of those that match are to spare.
        if np.count_nonzero(matching) >= 2 * top_k:
            return labels[matching][:top_k], scores[matching][:top_k]
        fetched *= 2
    return None
