"""Find the passages nearest to queries, under a filter or none: choose graph or exact search."""

import math

from finesieve_server.index.exact import Ranking
from finesieve_server.index.filters import Filter
from finesieve_server.index.matches import Matches, SlotLabels
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import Embedding, Matrix
from finesieve_server.index.vectors import Vectors

# What steps cost, in microseconds of a processor, of which the ratios count: measured over 200,000
# embeddings of 384 dimensions, 26,000 of them real and the others moved from these.
CANDIDATE_US = 6.0  # of the graph, with the test whether the filter takes it
MATCH_US = 0.85  # found in the store and gathered, once for all queries
COMPARE_US = 0.08  # of a match with one query
# How many matches to want of the graph for each that is returned: its last finds are its least
# sure.
SPARE_MATCHES = 2
# Where the graph would cost more than this part of an exact search, that is made at once: what
# the graph has cost when it falls short is lost.
SHARE_OF_EXACT = 0.5


def nearest(
    reader: Reader,
    vectors: Vectors,
    published: SlotLabels,
    queries: Matrix,
    top_k: int,
    *,
    considered: int,
    exact: bool,
    condition: Filter | None,
) -> list[Ranking]:
    """Return per query the slots of the nearest passages and their scores, best first.

    The reader must see all that was `published`; of what came later, none matches a filter.
    """
    if condition is None:
        if exact:
            return vectors.exact(queries, top_k, reader.require_wanted)
        return vectors.nearest(queries, top_k, considered, reader.require_wanted)
    return _Filtered(reader, vectors, published, condition, len(queries)).nearest(
        queries, top_k, considered, exact=exact
    )


class _Filtered:
    """One search under a filter."""

    def __init__(
        self,
        reader: Reader,
        vectors: Vectors,
        published: SlotLabels,
        condition: Filter,
        queries: int,
    ) -> None:
        self._reader = reader
        self._vectors = vectors
        self._labels = published
        self._matches: Matches = vectors.matches.of(condition)
        # An exact search takes, for each match and query:
        self._match_us = MATCH_US / queries + COMPARE_US

    def nearest(
        self, queries: Matrix, top_k: int, considered: int, *, exact: bool
    ) -> list[Ranking]:
        # The graph, where m of n match, must give n / m candidates for each match wanted. That
        # and comparing all m are worth the same at:
        wanted = SPARE_MATCHES * top_k
        graph_us = wanted * self._vectors.live_count * CANDIDATE_US / SHARE_OF_EXACT
        self._few = math.ceil(math.sqrt(graph_us / self._match_us)) + 1
        few = self._matches.few(self._reader, self._labels, self._few)
        rankings: list[Ranking | None] = [None] * len(queries)
        if few is None and not exact:
            for row, query in enumerate(queries):
                rankings[row] = self._over_fetched(query, top_k, considered)
                # Where most fall short, others will.
                if 2 * rankings[: row + 1].count(None) > row + 1:
                    break
        missing = [row for row, ranking in enumerate(rankings) if ranking is None]
        if missing:
            slots = self._matches.all(self._reader, self._labels) if few is None else few
            found = self._vectors.among(queries[missing], slots, top_k, self._reader.require_wanted)
            for row, ranking in zip(missing, found, strict=True):
                rankings[row] = ranking
        return [ranking for ranking in rankings if ranking is not None]

    def _over_fetched(self, query: Embedding, top_k: int, considered: int) -> Ranking | None:
        """Ask the graph for more until enough of it matches; None where that costs too much."""
        wanted = SPARE_MATCHES * top_k
        fetched = max(considered, 2 * wanted)
        while True:
            self._reader.require_wanted()
            [near] = self._vectors.near(query[None], fetched, fetched, self._reader.require_wanted)
            if near is None:
                return None
            near = near[near < self._labels.count]  # later ones are not in the reader's view
            taken = near[self._matches.taken(self._reader, self._labels, near)]
            if len(taken) >= wanted:
                return self._vectors.ranked(query, taken, top_k)
            # The share that matches so far tells how far to look, and how many there are in all.
            share = max(len(taken), 0.5) / max(1, len(near))
            fetched = max(2 * fetched, math.ceil(1.2 * wanted / share))
            matches = max(self._few, share * self._vectors.live_count)
            if fetched * CANDIDATE_US > SHARE_OF_EXACT * matches * self._match_us:
                return None
