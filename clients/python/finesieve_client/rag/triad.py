"""Measure the RAG triad of an answer: are the passages to the point, does the answer rest on them,
and does it answer the question?

Context relevance is the cross-encoder's: the mean of its calibrated probabilities. The other two
are a language model's judgment where one is given. Without one:
- a statement is supported by a passage that holds half of its words and that the cross-encoder
  finds relevant to it: a paraphrase may count as unsupported, a denial in the same words as
  supported;
- answer relevance is the cross-encoder's probability that the answer, as a passage, answers.
The bundled cross-encoder knows English; in other languages its probabilities say little.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.rerank_pb2 import Document
from finesieve_client.client import Client
from finesieve_client.rag.completion import Usage
from finesieve_client.rag.judging import judge_answer, judge_support
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.sentences import sentences, words
from finesieve_client.rag.sources import Statement

SUPPORTED = 0.5  # both of the words' share and of the probability: benchmarks.support

_CITATION = re.compile(r"\s*\[\s*\d{1,4}(?:\s*,\s*\d{1,4})*\s*\]")


@dataclass(frozen=True, slots=True)
class Triad:
    """One answer measured; every value is 0..1.

    `relevance` has the probability of each passage. `answer_relevance` is None of an answer that
    refuses. `judge` is the language model's name, empty without one.
    """

    question: str
    answer: str
    passages: tuple[Passage, ...]
    relevance: tuple[float, ...]
    statements: tuple[Statement, ...]
    answer_relevance: float | None
    judge: str = ""
    usage: Usage = Usage()

    @property
    def refused(self) -> bool:
        """Tell whether the answer states nothing."""
        return not self.statements

    @property
    def context_relevance(self) -> float | None:
        """The mean of the passages' probabilities; None where there were none."""
        return fmean(self.relevance) if self.relevance else None

    @property
    def groundedness(self) -> float | None:
        """The share of the statements that a passage supports; None where nothing is stated."""
        if not self.statements:
            return None
        return sum(bool(each.passages) for each in self.statements) / len(self.statements)


@dataclass(frozen=True, slots=True)
class Means:
    """The triad over a set of answers: each value's mean over the answers that have it."""

    num_answers: int
    num_refused: int
    context_relevance: float | None
    groundedness: float | None
    answer_relevance: float | None


def triad(
    client: Client,
    question: str,
    answer: str,
    passages: Iterable[Passage],
    llm: Llm | None = None,
    *,
    refused: bool = False,
) -> Triad:
    """Measure one answer and the passages that it was given, in their order.

    `refused`: the answer says that there is none, which states nothing. With a language model two
    calls; raises LlmError, and FinesieveError.
    """
    given = tuple(passages)
    stated = [] if refused else statements_of(answer)
    relevance = probabilities(client, question, map(_document, given))
    if not stated:
        return Triad(question, answer, given, relevance, (), None, llm.model if llm else "")
    if llm is None:
        statements = [Statement(each, _supporting(client, each, given)) for each in stated]
        (answered,) = probabilities(client, question, [Document(text=without_citations(answer))])
        return Triad(question, answer, given, relevance, tuple(statements), answered)
    supporting, ground_usage = judge_support(llm, stated, given)
    answered, grade_usage = judge_answer(llm, question, without_citations(answer))
    return Triad(
        question,
        answer,
        given,
        relevance,
        tuple(map(Statement, stated, supporting)),
        answered,
        llm.model,
        ground_usage + grade_usage,
    )


def means(triads: Sequence[Triad]) -> Means:
    """Return each value's mean over the answers that have it."""
    return Means(
        num_answers=len(triads),
        num_refused=sum(each.refused for each in triads),
        context_relevance=_mean(each.context_relevance for each in triads),
        groundedness=_mean(each.groundedness for each in triads),
        answer_relevance=_mean(each.answer_relevance for each in triads),
    )


def without_citations(answer: str) -> str:
    """Return an answer without the numbers of passages, such as [1] or [2, 3]."""
    return _CITATION.sub("", answer)


def statements_of(answer: str) -> list[str]:
    """Return an answer's sentences that say something."""
    text = without_citations(answer)
    found = (text[start:end] for start, end in sentences(text))
    return [" ".join(each.split()) for each in found if words(each)]


def probabilities(client: Client, query: str, documents: Iterable[Document]) -> tuple[float, ...]:
    """Return the cross-encoder's probability for each document; 0 where it could not be scored."""
    given = list(documents)
    if not given:
        return ()
    answer = client.rerank(query, given, long_passage="chunk")
    found = {result.index: result.score.probability for result in answer.results}
    return tuple(found[index] for index in range(len(given)))


def share_of_words(statement: str, passage: Passage) -> float:
    """Return which share of a statement's different words a passage holds."""
    said = set(words(statement))
    return len(said & {*words(f"{passage.title} {passage.text}")}) / len(said)


def _supporting(client: Client, statement: str, passages: Sequence[Passage]) -> tuple[int, ...]:
    found = probabilities(client, statement, map(_document, passages))
    return tuple(
        number
        for number, (passage, probability) in enumerate(zip(passages, found, strict=True), start=1)
        if min(probability, share_of_words(statement, passage)) >= SUPPORTED
    )


def _document(passage: Passage) -> Document:
    return Document(id=passage.id, title=passage.title, text=passage.text)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
