"""Hold what an answer rests on: passages as they are given, and quotations from them.

Ranges are half-open and count characters of a passage's own text.
"""

from dataclasses import dataclass

from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.results_pb2 import Hit
from finesieve.v1.search_pb2 import SearchHit
from finesieve_client.rag.sentences import Span


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said in one sentence, and the numbers of the passages that support it, from 1."""

    text: str
    passages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of a passage's text that is given."""

    passage: Passage
    span: Span

    @classmethod
    def whole(cls, passage: Passage) -> "Excerpt":
        """Return all of a passage."""
        return cls(passage, (0, len(passage.text)))

    @property
    def text(self) -> str:
        """The text given."""
        start, end = self.span
        return self.passage.text[start:end]


@dataclass(frozen=True, slots=True)
class Source:
    """One numbered passage of an answer: a hit, and what of it and around it is given."""

    number: int
    hit: Hit
    excerpts: tuple[Excerpt, ...]

    @classmethod
    def of(cls, number: int, found: SearchHit) -> "Source":
        """Return a hit with its window as a source, all of it."""
        passages = (*found.before, found.hit.passage, *found.after)
        return cls(number, found.hit, tuple(Excerpt.whole(each) for each in passages))

    @property
    def passage_id(self) -> str:
        """The hit's own passage."""
        return self.hit.passage.id

    @property
    def title(self) -> str:
        """The hit's title; may be empty."""
        return self.hit.passage.title

    @property
    def document_id(self) -> str:
        """The document that the hit was cut from; may be empty."""
        return self.hit.passage.document_id

    @property
    def text(self) -> str:
        """All the text given."""
        return "\n".join(excerpt.text for excerpt in self.excerpts)

    @property
    def probability(self) -> float | None:
        """The calibrated probability that the hit is relevant; None where it was not scored."""
        return self.hit.score.probability if self.hit.HasField("score") else None


@dataclass(frozen=True, slots=True)
class Quote:
    """A part of a passage that was given with a source; it may be of the source's window."""

    source: Source
    passage: Passage
    span: Span

    @property
    def text(self) -> str:
        """The words quoted, in one line."""
        start, end = self.span
        return " ".join(self.passage.text[start:end].split())
