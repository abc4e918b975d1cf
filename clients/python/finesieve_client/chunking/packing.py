"""Pack the pieces of a text into chunks of a size. Pure: no text is read here, only its measures.

Chunks are ranges of pieces. A chunk does not reach over the end of its section, except that a
section too small to stand alone begins the chunk of the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

Range = tuple[int, int]  # of pieces, half-open
Headings = tuple[str, ...]

# A section with less than this share of a chunk does not stand alone.
_LEAST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Piece:
    """What is not cut any further: mostly a sentence. `start` and `end` count characters."""

    start: int
    end: int
    tokens: int
    headings: Headings = ()
    is_heading: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A range of pieces, and what it is divided into where there is a smaller size."""

    range: Range
    parts: tuple["Part", ...] = ()


def pack(
    pieces: Sequence[Piece],
    sizes: Sequence[int],
    overlap: int,
    title_tokens: Callable[[Headings], int],
) -> list[Part]:
    """Return the pieces in parts of the first size, divided into parts of the next ones.

    Parts of the last size overlap by whole pieces of at most so many tokens, those above them not
    at all. What would be the only part of another takes its place.
    """
    return _pack(pieces, (0, len(pieces)), sizes, overlap, title_tokens)


def common(headings: Sequence[Headings]) -> Headings:
    """Return the headings that all of these begin with."""
    shared = headings[0]
    for each in headings[1:]:
        same = (at for at, pair in enumerate(zip(shared, each, strict=False)) if len(set(pair)) > 1)
        shared = shared[: next(same, min(len(shared), len(each)))]
    return shared


def _pack(
    pieces: Sequence[Piece],
    within: Range,
    sizes: Sequence[int],
    overlap: int,
    title_tokens: Callable[[Headings], int],
) -> list[Part]:
    size, *smaller = sizes
    parts = []
    for group in _groups(pieces, within, size):
        longest_title = max(map(title_tokens, {each.headings for each in pieces[slice(*group)]}))
        room = size - longest_title
        for found in _fill(pieces, group, room, 0 if smaller else overlap):
            inner = _pack(pieces, found, smaller, overlap, title_tokens) if smaller else []
            parts.append(inner[0] if len(inner) == 1 else Part(found, tuple(inner)))
    return parts


def _groups(pieces: Sequence[Piece], within: Range, size: int) -> Iterator[Range]:
    """Yield runs of sections that are cut as one; none is too small, if that can be."""
    groups: list[Range] = []
    tokens: list[int] = []
    at = within[0]
    for _, section in groupby(pieces[slice(*within)], key=lambda piece: piece.headings):
        lengths = [piece.tokens for piece in section]
        if groups and tokens[-1] < _LEAST_SHARE * size:
            groups[-1] = (groups[-1][0], at + len(lengths))
            tokens[-1] += sum(lengths)
        else:
            groups.append((at, at + len(lengths)))
            tokens.append(sum(lengths))
        at += len(lengths)
    if len(groups) > 1 and tokens[-1] < _LEAST_SHARE * size:
        last = groups.pop()
        groups[-1] = (groups[-1][0], last[1])
    yield from groups


def _fill(pieces: Sequence[Piece], group: Range, room: int, overlap: int) -> Iterator[Range]:
    """Yield ranges of at most `room` tokens, as full as can be; one new piece at least."""
    start, stop = group
    end = start
    left = sum(piece.tokens for piece in pieces[start:stop])
    while end < stop:
        begin = _begin(pieces, start, end, min(overlap, room - _needed(pieces, end, stop, room)))
        # What fits into two is halved, so that the last one is not a scrap.
        repeated = sum(piece.tokens for piece in pieces[begin:end])
        rest = repeated + left
        enough = room if rest <= room or rest + overlap > 2 * room else (rest + overlap) / 2
        done, end = end, _end(pieces, (begin, stop), end + 1, room, enough)
        left -= sum(piece.tokens for piece in pieces[done:end])
        start = begin
        yield begin, end


def _needed(pieces: Sequence[Piece], at: int, stop: int, room: int) -> int:
    """Return the room for the next piece; a heading needs that for what it stands over too."""
    tokens = pieces[at].tokens
    while pieces[at].is_heading and at + 1 < stop and tokens + pieces[at + 1].tokens <= room:
        at += 1
        tokens += pieces[at].tokens
    return tokens


def _begin(pieces: Sequence[Piece], first: int, end: int, overlap: int) -> int:
    """Return where a chunk begins that repeats the end of the one before, but not all of it."""
    begin = end
    while begin - 1 > first and pieces[begin - 1].tokens <= overlap:
        begin -= 1
        overlap -= pieces[begin].tokens
    return begin


def _end(pieces: Sequence[Piece], within: Range, least: int, room: int, enough: float) -> int:
    """Return where a chunk ends that has `enough` tokens and not more than `room`.

    It holds what is before `least` at any rate.
    """
    end, stop = within
    tokens = 0
    while end < stop and tokens < enough and tokens + pieces[end].tokens <= room:
        tokens += pieces[end].tokens
        end += 1
    # A heading goes with what it stands over.
    while least < end < stop and pieces[end - 1].is_heading:
        end -= 1
    return max(least, end)
