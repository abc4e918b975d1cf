"""Make the pairs that a cross-encoder scores for one query, long passages cut as asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from finesieve_server.errors import FinesieveError, TooLong
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed, TokenIds
from finesieve_server.search.chunks import cut


class LongPassage(Enum):
    """What to do with a passage that does not fit beside the query."""

    TRUNCATE = 1
    CHUNK = 2
    FAIL = 3


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is scored for one candidate: one pair, or one a chunk.

    `spans` gives each chunk's half-open range of characters in the candidate's text.
    """

    framed: Sequence[Framed]
    spans: Sequence[tuple[int, int]] = ()
    truncated: bool = False
    failure: FinesieveError | None = None


class PairMaker:
    """Frames candidates for one model, one query and one way with long passages.

    The query is cut already: it has at most the model's `query_room`.
    """

    def __init__(
        self,
        model: CrossEncoder,
        query: TokenIds,
        *,
        long_passage: LongPassage,
        max_passage_tokens: int,
        max_chunks: int,
    ) -> None:
        self._query = query
        self._model = model
        room = model.room - len(self._query)
        self._room = min(room, max_passage_tokens) if max_passage_tokens else room
        self._long_passage = long_passage
        self._max_chunks = max_chunks

    def needs_whole(self, passage: TokenIds) -> bool:
        """Whether a failure is to say how much too long the passage is."""
        return self._long_passage is LongPassage.FAIL and len(passage) > self._room

    def needs_offsets(self, passage: TokenIds) -> bool:
        return self._long_passage is LongPassage.CHUNK and len(passage) > self._room

    def whole(self, passage: TokenIds) -> Pairs:
        """Return the one pair of a passage, cut at the room or failed where it is longer."""
        too_long = len(passage) > self._room
        if too_long and self._long_passage is LongPassage.FAIL:
            return Pairs((), failure=TooLong("text", len(passage), self._room, unit="tokens"))
        return Pairs([self._frame(passage[: self._room])], truncated=too_long)

    def chunked(
        self, passage: TokenIds, offsets: NDArray[np.int32], title_chars: int, text_chars: int
    ) -> Pairs:
        """Return a pair a chunk; `offsets` count from the model's prefix on.

        Prefix and title stand before every chunk, as far as they take half the room at most.
        """
        prefix_chars = len(self._model.manifest.passage_prefix)
        heads = (
            _num_before(offsets, chars) for chars in (prefix_chars + title_chars, prefix_chars)
        )
        num_head = next((each for each in heads if each <= self._room // 2), 0)
        head, body, body_offsets = passage[:num_head], passage[num_head:], offsets[num_head:]
        chunks, rest = cut(len(body), self._room - num_head, self._max_chunks)
        text_start = prefix_chars + (title_chars + 1 if title_chars else 0)
        edges = np.clip(body_offsets - text_start, 0, text_chars)
        return Pairs(
            [self._frame(np.concatenate((head, body[each.start : each.end]))) for each in chunks],
            [(int(edges[each.start, 0]), int(edges[each.end - 1, 1])) for each in chunks],
            truncated=rest,
        )

    def _frame(self, passage: TokenIds) -> Framed:
        return self._model.frame(self._query, passage)


def tokens_around(offsets: NDArray[np.int32], start: int, end: int) -> tuple[int, int]:
    """Return how many tokens stand before and after a range of characters, outside of it."""
    after = len(offsets) - int(np.searchsorted(offsets[:, 0], end, side="left"))
    return _num_before(offsets, start), after


def cut_query(query: TokenIds, before: int, after: int, room: int) -> TokenIds:
    """Return a query's ids, cut to the room; what stands before and after it stays whole."""
    end = len(query) - after
    left = max(0, room - before - after)
    return np.concatenate((query[: min(end, before + left)], query[end:]))


def _num_before(offsets: NDArray[np.int32], chars: int) -> int:
    """Return how many tokens stand wholly within the first characters."""
    return int(np.searchsorted(offsets[:, 1], chars, side="right")) if chars else 0
