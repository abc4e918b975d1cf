"""Choose how much of what was found fits into a number of tokens.

Passages are taken whole, best first; of the last, the window goes, and then what lies behind the
last sentence that fits, if enough is left to be of use. No I/O: whoever calls has the texts
counted in between.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finesieve.v1.search_pb2 import SearchHit
from finesieve_client.rag import prompt
from finesieve_client.rag.sentences import Span, sentences
from finesieve_client.rag.sources import Excerpt, Source

LEAST_TOKENS = 40  # of a part of a passage that is worth giving
# More than a token holds on average in any text: what lies beyond cannot fit.
MAX_TOKEN_CHARACTERS = 16
_UNIT_CHARACTERS = 200
_MAX_HEAD_CHARACTERS = 32_768  # half of what a server counts at once
# Rather too many than too few: English has four a token, Vietnamese and Chinese some three.
_TOKEN_BYTES = 3
# What a WordPiece tokenizer counts as one unknown token, however long.
_NO_WORD = re.compile(r"\S{101,}")
_MOST_TOKEN_BYTES = 6  # on average: English has fewer


@dataclass(frozen=True, slots=True)
class Measured:
    """A source in the parts that are counted: its line without text, and runs of sentences."""

    source: Source
    units: tuple[tuple[int, Span], ...]  # which excerpt, and which part of it

    def texts(self) -> list[str]:
        """Return what is counted, in this order, as it stands in the prompt."""
        head = prompt.line(self.source.number, self.source.title, "")[:_MAX_HEAD_CHARACTERS]
        excerpts = self.source.excerpts
        texts = (excerpts[at].passage.text[slice(*span)] for at, span in self.units)
        return [head, *map(prompt.escaped, texts)]


class Budget:
    """Found passages on their way into so many tokens."""

    def __init__(self, hits: Sequence[SearchHit], tokens: int) -> None:
        """`hits` come best first; `tokens` are those of all passages together."""
        self._tokens = tokens
        self._measured: list[Measured] = []
        left = tokens * MAX_TOKEN_CHARACTERS
        for number, found in enumerate(hits, start=1):
            if left <= 0:
                break
            source = Source.of(number, found)
            self._measured.append(Measured(source, tuple(_units(source))))
            left -= len(source.text)

    def texts(self) -> list[str]:
        """Return the texts to be counted."""
        return [text for measured in self._measured for text in measured.texts()]

    def fit(self, counts: Sequence[int]) -> list[Source]:
        """Return what fits, given the tokens of each of `texts`.

        Raises ValueError where not even the first sentences of any passage do.
        """
        given: list[Source] = []
        left, at = self._tokens, 0
        for measured in self._measured:
            head, *units = counts[at : at + 1 + len(measured.units)]
            at += 1 + len(measured.units)
            fits = head + sum(units) <= left
            least = LEAST_TOKENS if given else 1
            source = measured.source if fits else _cut(measured, units, left - head, least)
            if source is None:
                continue
            given.append(replace(source, number=len(given) + 1))
            if not fits:
                break
            left -= head + sum(units)
        if self._measured and not given:
            raise ValueError(
                f"token_budget is {self._tokens}; the title and first sentences of a passage take "
                "more"
            )
        return given


def estimated(texts: Sequence[str]) -> list[int]:
    """Return about how many tokens texts are, by their bytes: rather too many than too few."""
    return [_tokens(text, _TOKEN_BYTES) for text in texts]


def corrected(texts: Sequence[str], counts: Sequence[int]) -> list[int]:
    """Return counts of an embedding model's tokens, raised to what a language model may count.

    The first knows few scripts, and counts a word that it does not know as one token.
    """
    return [
        max(
            count,
            _tokens(text, _MOST_TOKEN_BYTES),
            sum(_tokens(word, _TOKEN_BYTES) for word in _NO_WORD.findall(text)),
        )
        for text, count in zip(texts, counts, strict=True)
    ]


def _tokens(text: str, token_bytes: int) -> int:
    return -(-len(text.encode(errors="replace")) // token_bytes)


def _units(source: Source) -> list[tuple[int, Span]]:
    return [
        (at, unit)
        for at, excerpt in enumerate(source.excerpts)
        for unit in _runs(sentences(excerpt.passage.text))
    ]


def _runs(spans: Sequence[Span]) -> list[Span]:
    """Join short sentences, so that there is less to count."""
    runs: list[Span] = []
    for start, end in spans:
        if runs and end - runs[-1][0] <= _UNIT_CHARACTERS:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _cut(measured: Measured, counts: Sequence[int], left: int, least: int) -> Source | None:
    """Return the hit without its window; what of it fits from its best chunk on, if not all."""
    source = measured.source
    hit = source.hit
    own = [
        (span, count)
        for (at, span), count in zip(measured.units, counts, strict=True)
        if source.excerpts[at].passage.id == hit.passage.id
    ]
    if sum(count for _, count in own) > left:
        own = [(span, count) for span, count in own if span[1] > hit.best_span.start]
    taken: list[Span] = []
    used = 0
    for span, count in own:
        if used + count > left:
            break
        taken.append(span)
        used += count
    if not taken or used < least:
        return None
    return replace(source, excerpts=(Excerpt(hit.passage, (taken[0][0], taken[-1][1])),))
