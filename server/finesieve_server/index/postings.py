"""Hold which words stand how often in which passages: make, merge, pack and read it. Pure.

A segment lists, for each word of a run of passages, the passages that have it. Passages are
numbered by slots within their segment, in the order of their labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.records import Labels
from finesieve_server.index.words import Terms, terms_of, words_of

Slots = NDArray[np.uint16]
Counts = NDArray[np.uint8]  # how often a word stands in a passage; more than 255 is 255
Lengths = NDArray[np.uint16]  # how many words a passage has; 0: none, or it is gone
Listed = tuple[Slots, Counts]  # the passages that have one word

MAX_SLOTS = 1 << 16  # of one segment
MAX_PAGE_BITS = 16  # beyond, pages grow
TITLE_WEIGHT = 2  # a word of the title counts as two of the text
PAGE_POSTINGS = 2_048  # about, on a page; one word's are never apart

NOTHING: Listed = (np.empty(0, np.uint16), np.empty(0, np.uint8))


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The postings of some passages: `passages_with[i]` of them for terms[i], one after another."""

    labels: Labels  # ascending
    lengths: Lengths
    terms: Terms  # ascending
    passages_with: NDArray[np.uint32]
    slots: Slots  # ascending for each term
    counts: Counts


def build(labels: Labels, passages: Sequence[tuple[str, str]]) -> Segment:
    """Return the segment of passages, given by title and text; at most MAX_SLOTS."""
    numbers: dict[str, int] = {}  # of the words, as they come
    words: list[int] = []
    ends = [0]
    for title, text in passages:
        for part in (*[title] * TITLE_WEIGHT, text) if title else (text,):
            words += [numbers.setdefault(word, len(numbers)) for word in words_of(part)]
        ends.append(len(words))
    lengths = np.diff(ends)
    terms, term_of = np.unique(terms_of(list(numbers)), return_inverse=True)
    slots = np.repeat(np.arange(len(passages)), lengths)
    pairs, counts = np.unique(term_of[words] << 16 | slots, return_counts=True)
    return Segment(
        labels,
        np.minimum(lengths, 65_535).astype(np.uint16),
        terms,
        np.bincount(pairs >> 16, minlength=len(terms)).astype(np.uint32),
        (pairs & 0xFFFF).astype(np.uint16),
        np.minimum(counts, 255).astype(np.uint8),
    )


def merge(segments: Sequence[Segment]) -> Segment:
    """Return one segment of several, in the order of their labels, without what is gone."""
    segments = [_living(segment) for segment in segments]
    terms = np.unique(np.concatenate([segment.terms for segment in segments]))
    rows = [np.searchsorted(terms, segment.terms) for segment in segments]
    listed = np.zeros((len(terms), len(segments)), np.int64)
    for column, (row, segment) in enumerate(zip(rows, segments, strict=True)):
        listed[row, column] = segment.passages_with
    starts = (np.cumsum(listed) - listed.ravel()).reshape(listed.shape)
    slots = np.empty(int(listed.sum()), np.uint16)
    counts = np.empty(len(slots), np.uint8)
    first_slot = 0
    for column, (row, segment) in enumerate(zip(rows, segments, strict=True)):
        places = _spread(starts[row, column], segment.passages_with)
        slots[places] = segment.slots + np.uint16(first_slot)
        counts[places] = segment.counts
        first_slot += len(segment.labels)
    return Segment(
        np.concatenate([segment.labels for segment in segments]),
        np.concatenate([segment.lengths for segment in segments]),
        terms,
        listed.sum(axis=1).astype(np.uint32),
        slots,
        counts,
    )


def equal(one: Segment, other: Segment) -> bool:
    """Return whether two segments hold the same."""
    return all(
        np.array_equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
    )


def pages(segment: Segment) -> tuple[int, Iterator[tuple[int, bytes]]]:
    """Return how many bits of a term name its page, and the pages by their numbers."""
    bits = page_bits(len(segment.slots))
    return bits, _pages(segment, bits)


def page_bits(postings: int) -> int:
    """Return how many bits of a term name its page; the postings are fewer than PAGE_POSTINGS
    times two to that power, except at MAX_PAGE_BITS."""
    return min((postings // PAGE_POSTINGS).bit_length(), MAX_PAGE_BITS)


def page_of(term: int, bits: int) -> int:
    """Return the number of the page on which a term stands."""
    return term >> (64 - bits) if bits else 0


def look_up(page: bytes, term: int) -> Listed:
    """Return the passages that have a term, which may be none. Raises ValueError for no page."""
    terms, passages_with, slots, counts = _unpacked(page)
    at = int(np.searchsorted(terms, np.uint64(term)))
    if at == len(terms) or terms[at] != term:
        return NOTHING
    start = int(passages_with[:at].sum())
    stop = start + int(passages_with[at])
    return slots[start:stop], counts[start:stop]


def unpack(labels: Labels, lengths: Lengths, packed: Sequence[bytes]) -> Segment:
    """Return a segment from all its pages in their order. Raises ValueError for no pages."""
    parts = [_unpacked(page) for page in packed]
    terms, passages_with, slots, counts = (
        np.concatenate([np.empty(0, kind), *(part[place] for part in parts)])
        for place, kind in enumerate((np.uint64, np.uint32, np.uint16, np.uint8))
    )
    if int(passages_with.sum()) != len(slots) or np.any(slots >= len(labels)):
        raise ValueError("pages of postings disagree with their segment")
    return Segment(labels, lengths, terms, passages_with, slots, counts)


def _pages(segment: Segment, bits: int) -> Iterator[tuple[int, bytes]]:
    numbers = (segment.terms >> np.uint64(64 - bits)) if bits else np.zeros_like(segment.terms)
    present, firsts = np.unique(numbers, return_index=True)
    term_ends = [*firsts[1:].tolist(), len(numbers)]
    ends = np.concatenate([[0], np.cumsum(segment.passages_with, dtype=np.int64)]).tolist()
    for number, first, last in zip(present.tolist(), firsts.tolist(), term_ends, strict=True):
        start, stop = ends[first], ends[last]
        yield (
            number,
            b"".join(
                (
                    (last - first).to_bytes(4, "little"),
                    segment.terms[first:last].astype("<u8", copy=False).tobytes(),
                    segment.passages_with[first:last].astype("<u4", copy=False).tobytes(),
                    segment.slots[start:stop].astype("<u2", copy=False).tobytes(),
                    segment.counts[start:stop].tobytes(),
                )
            ),
        )


def _unpacked(page: bytes) -> tuple[Terms, NDArray[np.uint32], Slots, Counts]:
    distinct = int.from_bytes(page[:4], "little")
    postings, rest = divmod(len(page) - 4 - 12 * distinct, 3)
    if postings < 0 or rest:
        raise ValueError("a page of postings is cut short")
    terms = np.frombuffer(page, "<u8", distinct, 4)
    passages_with = np.frombuffer(page, "<u4", distinct, 4 + 8 * distinct)
    slots = np.frombuffer(page, "<u2", postings, 4 + 12 * distinct)
    return terms, passages_with, slots, np.frombuffer(page, "u1", postings, len(page) - postings)


def _living(segment: Segment) -> Segment:
    """Return the segment without the passages that are gone."""
    alive = segment.lengths > 0
    if alive.all():
        return segment
    kept = alive[segment.slots]
    owner = np.repeat(np.arange(len(segment.terms)), segment.passages_with)
    passages_with = np.bincount(owner[kept], minlength=len(segment.terms)).astype(np.uint32)
    renumbered = (np.cumsum(alive) - 1).astype(np.uint16)
    return Segment(
        segment.labels[alive],
        segment.lengths[alive],
        segment.terms[passages_with > 0],
        passages_with[passages_with > 0],
        renumbered[segment.slots[kept]],
        segment.counts[kept],
    )


def _spread(starts: NDArray[np.int64], counts: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return starts[0], starts[0] + 1, ... counts[0] of them, then those from starts[1], ..."""
    before = np.cumsum(counts, dtype=np.int64) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum(dtype=np.int64)))
