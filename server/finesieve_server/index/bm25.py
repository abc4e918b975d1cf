"""Score passages by the words they share with a query, and find the best: BM25. Pure.

Robertson & Zaragoza 2009, doi:10.1561/1500000019. How rare a word is, and how long passages are,
counts over the whole collection: a passage's score does not depend on the filter.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.exact import largest
from finesieve_server.index.postings import Lengths, Listed
from finesieve_server.index.records import Scores

K1 = 1.2  # how soon a word's repetitions stop to count
B = 0.75  # how far long passages are held back


def scores_of(segments: Sequence[Lengths], lists: Iterable[Sequence[Listed]]) -> list[Scores]:
    """Return for each segment the scores of its slots; 0 where no word is shared.

    `segments` holds how many words each slot has, `lists` gives for each word of the query the
    passages that have it, segment by segment.
    """
    living = sum(int(np.count_nonzero(lengths)) for lengths in segments)
    total = sum(int(lengths.sum(dtype=np.int64)) for lengths in segments)
    burdens = [_burdens(lengths, total / max(1, living)) for lengths in segments]
    scores = [np.zeros(len(lengths), np.float32) for lengths in segments]
    for listed in lists:
        places = [slots.astype(np.intp) for slots, _ in listed]
        having = sum(
            int(np.count_nonzero(lengths[at])) for lengths, at in zip(segments, places, strict=True)
        )
        rarity = math.log(1 + (living - having + 0.5) / (having + 0.5))
        for score, burden, at, (_, counts) in zip(scores, burdens, places, listed, strict=True):
            repeated = counts.astype(np.float32)
            score[at] += np.float32(rarity * (K1 + 1)) * repeated / (repeated + burden[at])
    return scores


def best_of(scores: Sequence[Scores], count: int) -> tuple[NDArray[np.int64], Scores]:
    """Return the places of the best, best first, and their scores; of equals, the first.

    A place counts through all segments. Fewer than `count` where fewer share a word.
    """
    best = np.empty(0, np.int64), np.empty(0, np.float32)
    first = 0
    for score in scores:
        least = best[1].min() if len(best[1]) >= count else np.float32(0)
        better = np.flatnonzero(score > least)
        best = largest(
            np.concatenate([best[0], better + first]),
            np.concatenate([best[1], score[better]]),
            count,
        )
        first += len(score)
    order = np.lexsort((best[0], -best[1]))
    return best[0][order], best[1][order]


def _burdens(lengths: Lengths, average: float) -> NDArray[np.float32]:
    """Return what the length of each passage adds below the line; infinity where it is gone."""
    burdens = (K1 * (1 - B + B / max(average, 1.0) * lengths)).astype(np.float32)
    burdens[lengths == 0] = np.inf
    return burdens
