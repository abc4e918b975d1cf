"""Find passages by the words they share with a query.

The words lie in the store and are written in the transaction of the passages themselves, so that
both are equal at every moment.
"""

from collections.abc import Callable, Sequence
from heapq import nsmallest
from typing import Protocol

import apsw
import numpy as np

from finesieve_server.errors import DataLoss
from finesieve_server.index.bm25 import best_of, scores_of
from finesieve_server.index.filters import Filter
from finesieve_server.index.postings import Listed, Segment, build, equal, merge
from finesieve_server.index.records import Labels, Scores
from finesieve_server.index.segments import Row, Segments
from finesieve_server.index.words import terms_of, words_of

CHECKED_AT_ONCE = 1_000  # passages
LISTED_MATCHES = 20_000  # of a filter: up to here, all are looked for first
# Of a query, which may have thousands: the first so many, and of these the rarest so many.
MAX_WORDS_READ = 256
MAX_WORDS_COUNTED = 128
MAX_TESTED = 50_000  # passages with the query's words that a filter is asked about

TextsOf = Callable[[Labels], Sequence[tuple[str, str]]]  # title and text of each label


class Membership(Protocol):
    """What the store says of a filter."""

    def at_most(self, condition: Filter, limit: int) -> int: ...

    def accepted(self, condition: Filter, labels: Labels) -> Labels: ...

    def labels_matching(self, condition: Filter) -> Labels: ...

    def require_wanted(self) -> None: ...


class LexicalIndex:
    """The words of all passages that may be found, seen through one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._segments = Segments(connection)

    def add(self, labels: Labels, passages: Sequence[tuple[str, str]]) -> None:
        """Index passages, by title and text, whose labels ascend beyond all that are there."""
        added = merge([build(labels, passages)])
        if len(added.labels):
            self._segments.insert(added)

    def remove(self, labels: Labels) -> None:
        """Forget passages; those that are not indexed do not matter."""
        labels = np.sort(labels)
        for row in self._segments.rows():
            start, stop = np.searchsorted(labels, (row.first_label, row.last_label + 1))
            if start < stop:
                self._segments.mark_gone(row, labels[start:stop])

    def tidy(self) -> None:
        """Keep what lies in the store few and large; at the end of each write."""
        self._segments.tidy()

    def clear(self) -> None:
        """Forget all passages."""
        self._segments.clear()

    def find(
        self, query: str, top_k: int, matches: Membership, condition: Filter | None
    ) -> tuple[Labels, Scores]:
        """Return the labels of the best passages and their scores, best first.

        They share a word with the query, and match the condition. Raises DataLoss, and what
        `matches.require_wanted` does.
        """
        rows = self._segments.rows()
        lengths = [self._segments.lengths(row) for row in rows]

        def listed(term: int) -> list[Listed]:
            matches.require_wanted()
            return self._segments.listed(rows, term)

        words = list(dict.fromkeys(words_of(query)))[:MAX_WORDS_READ]
        terms = np.unique(terms_of(words)).tolist()
        if len(terms) > MAX_WORDS_COUNTED:
            terms = nsmallest(MAX_WORDS_COUNTED, terms, lambda term: _passages_in(listed(term)))
        scores = scores_of(lengths, map(listed, terms))
        if condition is not None and matches.at_most(condition, LISTED_MATCHES) == LISTED_MATCHES:
            found = self._first_accepted(rows, scores, top_k, matches, condition)
            if found is not None:
                return found
        if condition is not None:
            matching = matches.labels_matching(condition)
            for row, score in zip(rows, scores, strict=True):
                score[~np.isin(self._segments.labels(row), matching, assume_unique=True)] = 0
        places, best = best_of(scores, top_k)
        return self._labels_at(rows, places), best

    def require_equal(self, labels: Labels, texts_of: TextsOf) -> None:
        """Raise DataLoss unless these passages are indexed, by all their words, and no others."""
        indexed = [np.empty(0, np.int64)]
        rows = self._segments.rows()
        self._segments.require_sound(rows)
        for row in rows:
            segment = self._segments.load(row)
            indexed.append(segment.labels)
            if len(np.setdiff1d(segment.labels, labels)):
                raise DataLoss("the lexical index has passages that are gone")
            if not equal(segment, _built(segment.labels, texts_of)):
                raise DataLoss("the lexical index differs from the texts")
        others = np.setdiff1d(labels, np.concatenate(indexed))
        if len(_built(others, texts_of).labels):
            raise DataLoss("the lexical index lacks passages")

    def _first_accepted(
        self,
        rows: Sequence[Row],
        scores: Sequence[Scores],
        top_k: int,
        matches: Membership,
        condition: Filter,
    ) -> tuple[Labels, Scores] | None:
        """Ask the filter about the best, then about more; None where that costs more than all."""
        tested = 4 * top_k
        while tested <= MAX_TESTED:
            places, best = best_of(scores, tested)
            labels = self._labels_at(rows, places)
            taken = np.isin(labels, matches.accepted(condition, labels))
            if np.count_nonzero(taken) >= top_k or len(labels) < tested:
                return labels[taken][:top_k], best[taken][:top_k]
            tested *= 4
        return None

    def _labels_at(self, rows: Sequence[Row], places: Labels) -> Labels:
        labels = np.empty(len(places), np.int64)
        first = 0
        for row in rows:
            here = (places >= first) & (places < first + row.slots)
            if here.any():
                labels[here] = self._segments.labels(row)[places[here] - first]
            first += row.slots
        return labels


def _passages_in(lists: Sequence[Listed]) -> int:
    return sum(len(slots) for slots, _ in lists)


def _built(labels: Labels, texts_of: TextsOf) -> Segment:
    parts = [labels[at : at + CHECKED_AT_ONCE] for at in range(0, len(labels), CHECKED_AT_ONCE)]
    return merge([build(part, texts_of(part)) for part in parts or [labels]])
