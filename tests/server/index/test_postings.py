"""Segments of postings: made, merged, packed and read, they say what the texts say."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from finesieve_server.index.postings import (
    Segment,
    build,
    equal,
    look_up,
    merge,
    page_of,
    pages,
    unpack,
)
from finesieve_server.index.words import terms_of

WORDS = [f"word{number}" for number in range(4000)]


def texts(count: int, seed: int = 0) -> list[tuple[str, str]]:
    random = np.random.default_rng(seed)
    ranks = np.minimum(random.zipf(1.3, (count, 30)), len(WORDS)) - 1
    return [("", " ".join(WORDS[rank] for rank in row)) for row in ranks.tolist()]


def listed(segment: Segment, word: str) -> dict[int, int]:
    """Return how often each label has the word, read from the packed pages."""
    [term] = terms_of([word]).tolist()
    bits, packed = pages(segment)
    page = dict(packed).get(page_of(term, bits))
    if page is None:
        return {}
    slots, counts = look_up(page, term)
    return dict(zip(segment.labels[slots].tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("count", [1, 10, 3000])
def test_a_packed_segment_says_who_has_a_word_and_how_often(count: int) -> None:
    corpus = texts(count)
    segment = build(np.arange(count) * 3 + 7, corpus)

    for word in ("word0", "word1", "word17", "word3999", "absent"):
        expected = {
            number * 3 + 7: found
            for number, (_, text) in enumerate(corpus)
            if (found := Counter(text.split())[word])
        }
        assert listed(segment, word) == expected


def test_merging_parts_is_building_the_whole() -> None:
    corpus = texts(300)
    labels = np.arange(300)
    cuts = [0, 1, 2, 150, 299, 300]

    parts = [build(labels[start:stop], corpus[start:stop]) for start, stop in pairwise(cuts)]

    assert equal(merge(parts), build(labels, corpus))


def test_merging_leaves_out_what_is_gone() -> None:
    corpus = texts(100)
    labels = np.arange(100)
    segment = build(labels, corpus)
    gone = np.arange(0, 100, 3)
    lengths = segment.lengths.copy()
    lengths[gone] = 0
    marked = Segment(
        labels, lengths, segment.terms, segment.passages_with, segment.slots, segment.counts
    )
    kept = np.setdiff1d(labels, gone)

    assert equal(merge([marked]), build(kept, [corpus[at] for at in kept]))


def test_pages_give_back_their_segment() -> None:
    segment = merge([build(np.arange(2000), texts(2000))])

    packed = [page for _, page in pages(segment)[1]]

    assert len(packed) > 1
    assert equal(unpack(segment.labels, segment.lengths, packed), segment)


@pytest.mark.parametrize("page", [b"", b"\x01", b"\xff\xff\xff\xff" + bytes(100), bytes(4) + b"ab"])
def test_bytes_that_are_no_page_are_refused(page: bytes) -> None:
    with pytest.raises(ValueError, match="page of postings"):
        look_up(page, 1)


def test_titles_count_more_and_repetitions_end_at_a_byte() -> None:
    segment = build(np.array([5]), [("sieve", "sieve fine " + "coarse " * 300)])

    assert segment.lengths.tolist() == [304]
    assert listed(segment, "sieve") == {5: 3}
    assert listed(segment, "coarse") == {5: 255}
