"""Find the sentence of the given passages that says most of a text, by the words both share.

BM25 over the sentences: rare words count most, and long sentences gain nothing by being long.
Source: Robertson & Zaragoza 2009, doi:10.1561/1500000019.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from finesieve_client.rag.sentences import sentences, words
from finesieve_client.rag.sources import Quote, Source

_SATURATION = 1.2
_LENGTH_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Scored:
    """A sentence, and how much of a text it says; 0: it shares no word."""

    quote: Quote
    score: float


class Quotes:
    """The sentences of all passages that are given."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._quotes = [quote for source in sources for quote in _quotes_of(source)]
        self._words = [Counter(_stems(quote.text)) for quote in self._quotes]
        self._holding = Counter(word for held in self._words for word in held)
        total = sum(held.total() for held in self._words)
        self._mean_length = max(1.0, total / max(1, len(self._words)))

    def scored(self, text: str, of: Source | None = None) -> list[Scored]:
        """Return every sentence, or those of one source, by how much of a text it says."""
        weights = {word: self._weight(word) for word in set(_stems(text))}
        return [
            Scored(quote, self._score(held, weights))
            for quote, held in zip(self._quotes, self._words, strict=True)
            if of is None or quote.source is of
        ]

    def support(self, statement: str, source: Source) -> Quote:
        """Return what of a source supports a statement best.

        Where no sentence shares a word with it: the chunk that the hit was found for, or all
        that is given of the hit's own passage.
        """
        best = max(self.scored(statement, source), key=lambda each: each.score, default=None)
        return best.quote if best is not None and best.score > 0 else best_part(source)

    def _weight(self, word: str) -> float:
        held = self._holding[word]
        return math.log(1 + (len(self._quotes) - held + 0.5) / (held + 0.5))

    def _score(self, held: Counter[str], weights: dict[str, float]) -> float:
        length = held.total() / self._mean_length
        norm = _SATURATION * (1 - _LENGTH_SHARE + _LENGTH_SHARE * length)
        return sum(
            weight * held[word] * (_SATURATION + 1) / (held[word] + norm)
            for word, weight in weights.items()
            if word in held
        )


def best_part(source: Source) -> Quote:
    """Return the chunk that a hit was found for, or all that is given of its own passage."""
    passage = source.hit.passage
    given = next((each.span for each in source.excerpts if each.passage.id == passage.id), (0, 0))
    if source.hit.HasField("best_span"):
        best = source.hit.best_span
        start, end = max(given[0], best.start), min(given[1], best.end)
        if start < end:
            return Quote(source, passage, (start, end))
    return Quote(source, passage, given)


def _quotes_of(source: Source) -> Iterable[Quote]:
    for excerpt in source.excerpts:
        for span in sentences(excerpt.passage.text, *excerpt.span):
            yield Quote(source, excerpt.passage, span)


def _stems(text: str) -> list[str]:
    """Return words, those of English without their plural's s."""
    return [word.removesuffix("s") if len(word) > 3 else word for word in words(text)]
