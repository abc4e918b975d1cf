"""Find the passages nearest to queries, under a filter or none: choose graph or exact search."""

import math

import numpy as np

from finesieve_server.index.filters import Filter
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import Embedding, Labels, Matrix, Scores
from finesieve_server.index.vectors import Vectors

Ranking = tuple[Labels, Scores]  # best first

# What a candidate of the graph and its test take, in comparisons with a match at hand; measured
# by benchmarks/retrieval.py.
GRAPH_COST = 12.0
# How many matches to want of the graph for each that is returned: its last finds are its least
# sure.
SPARE_MATCHES = 2


def nearest(
    reader: Reader,
    vectors: Vectors,
    queries: Matrix,
    top_k: int,
    *,
    considered: int,
    exact: bool,
    condition: Filter | None,
) -> list[Ranking]:
    """Return per query the labels of the nearest passages and their scores, best first."""
    if condition is None:
        if exact:
            found = vectors.exact(queries, top_k)
        else:
            found = vectors.nearest(queries, top_k, considered)
        return [(vectors.labels_of(slots), scores) for slots, scores in found]
    # Comparing all m matches costs m. The graph, where m of n match, must give n / m candidates
    # for each match wanted. The two meet at:
    few = math.ceil(math.sqrt(GRAPH_COST * SPARE_MATCHES * top_k * vectors.live_count)) + 1
    if exact or reader.at_most(condition, few) < few:
        return _among_matches(reader, vectors, queries, top_k, condition)
    rankings = [
        _over_fetched(reader, vectors, query, top_k, considered, condition) for query in queries
    ]
    missing = [row for row, ranking in enumerate(rankings) if ranking is None]
    if missing:
        late = iter(_among_matches(reader, vectors, queries[missing], top_k, condition))
        return [ranking or next(late) for ranking in rankings]
    return [ranking for ranking in rankings if ranking is not None]


def _among_matches(
    reader: Reader, vectors: Vectors, queries: Matrix, top_k: int, condition: Filter
) -> list[Ranking]:
    matches = reader.labels_matching(condition)
    found = vectors.among(queries, matches, top_k)
    return [(vectors.labels_of(slots), scores) for slots, scores in found]


def _over_fetched(
    reader: Reader,
    vectors: Vectors,
    query: Embedding,
    top_k: int,
    considered: int,
    condition: Filter,
) -> Ranking | None:
    """Ask the graph for more until enough of it matches; None where that costs more than all."""
    wanted = SPARE_MATCHES * top_k
    fetched = max(considered, 2 * wanted)
    while True:
        [near] = vectors.near(query[None], fetched, fetched)
        if near is None:
            return None
        labels = vectors.labels_of(near)
        matching = np.isin(labels, reader.accepted(condition, labels))
        matched = int(np.count_nonzero(matching))
        if matched >= wanted:
            slots, scores = vectors.ranked(query, near[matching], top_k)
            return vectors.labels_of(slots), scores
        # The share that matches so far tells how far to look, and how many there are in all.
        share = max(matched, 0.5) / len(labels)
        fetched = max(2 * fetched, math.ceil(1.2 * wanted / share))
        if fetched * GRAPH_COST > share * vectors.live_count:
            return None
