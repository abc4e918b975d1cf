"""Follow one question from its search to its answer. No I/O: `Rag` and `AsyncRag` do that.

    search → found → texts → fit → messages → take … → end → answer

Where nothing relevant was found `refuse` stands in the place of all after `found`; without a
language model `extract` in that of all after `fit`.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from finesieve.v1.passages_pb2 import Filter, Filters
from finesieve.v1.search_pb2 import SearchHit, SearchResponse
from finesieve_client.calls import ranking
from finesieve_client.calls.call import Call
from finesieve_client.filters import Condition, filter_message
from finesieve_client.options import SearchOptions
from finesieve_client.rag import prompt
from finesieve_client.rag.budget import Budget
from finesieve_client.rag.citations import Citation, CitationReader, citations_of
from finesieve_client.rag.completion import Completion, LlmError, Message, Usage
from finesieve_client.rag.extractive import extract
from finesieve_client.rag.sources import Source

REFUSAL = "Nothing that answers this question was found."
MIN_PROBABILITY = 0.1
_CUT = ("length", "model_length", "content_filter")


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went as the caller saw it, in seconds; `first_text_s` counts from the start.

    `fit_s` is for counting tokens, `answer_s` from the prompt to the last piece.
    """

    search_s: float
    fit_s: float
    first_text_s: float
    answer_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with what it rests on.

    `sources` are the passages that were given, by their numbers; `citations` what the answer's
    statements cite of them, in its order. `refused`: nothing relevant was found, and no model was
    asked, or the model refused. `cut`: a limit of tokens or a filter ended the answer; an endpoint
    that gives no reason for its end leaves that unknown.
    """

    text: str
    citations: tuple[Citation, ...]
    sources: tuple[Source, ...]
    refused: bool
    cut: bool
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Recipe:
    """How questions are answered from one collection."""

    collection: str
    token_budget: int
    min_probability: float
    options: Mapping[str, Any]

    @classmethod
    def of(cls, collection: str, token_budget: int, **options: Unpack[SearchOptions]) -> "Recipe":
        """Return the recipe; raises TypeError and ValueError for options that there are not."""
        min_probability = options.pop("min_probability", MIN_PROBABILITY)
        if not token_budget >= 1:
            raise ValueError(f"token_budget is {token_budget}; it is at least 1")
        if not 0 <= min_probability <= 1:
            raise ValueError(f"min_probability is {min_probability}; it is from 0 to 1")
        recipe = cls(
            collection, token_budget, min_probability, {"long_passage": "chunk", **options}
        )
        recipe.search("")  # says at once what is wrong with the options
        return recipe

    def search(
        self,
        question: str,
        filter: Condition | Filter | None = None,
        retrieval_queries: Iterable[ranking.Query] = (),
    ) -> Call[SearchResponse]:
        """Return the search for a question's passages; both filters hold, its own and this."""
        both = [filter_message(each) for each in (self.options.get("filter"), filter)]
        filters = [each for each in both if each is not None]
        merged = Filter(all_of=Filters(filters=filters)) if len(filters) > 1 else None
        options = {**self.options, "filter": merged or next(iter(filters), None)}
        return ranking.search(
            self.collection, question, retrieval_queries=retrieval_queries, **options
        )


class Turn:
    """One question on its way to its answer."""

    def __init__(
        self, question: str, recipe: Recipe, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.refused = False
        self._question = question
        self._recipe = recipe
        self._clock = clock
        self._started_s = clock()
        self._found_s = self._fitted_s = self._first_s = 0.0
        self._budget = Budget((), recipe.token_budget)
        self._sources: tuple[Source, ...] = ()
        self._reader = CitationReader(0)
        self._written: list[str] = []
        self._citations: tuple[Citation, ...] | None = None
        self._completion = Completion("", Usage())

    def found(self, response: SearchResponse) -> None:
        """Take what the search found; decides whether that is worth an answer."""
        self._found_s = self._fitted_s = self._first_s = self._clock()
        self.refused = not _is_relevant(response.hits, self._recipe.min_probability)
        self._budget = Budget(response.hits, self._recipe.token_budget)

    def texts(self) -> list[str]:
        """Return the texts whose tokens are to be counted."""
        return self._budget.texts()

    def fit(self, counts: Sequence[int]) -> None:
        """Choose what is given, by the tokens of each of the texts."""
        self._sources = tuple(self._budget.fit(counts))
        self._reader = CitationReader(len(self._sources))
        self._fitted_s = self._first_s = self._clock()

    def messages(self) -> list[Message]:
        """Return what the language model is asked."""
        given = [(source.title, source.text) for source in self._sources]
        return [
            Message("system", prompt.INSTRUCTION),
            Message("user", prompt.question_over(given, self._question)),
        ]

    def take(self, piece: str) -> str:
        """Return what of the answer is settled by one more piece of the model's; may be empty."""
        return self._write(self._reader.take(piece))

    def end(self, completion: Completion) -> str:
        """Return the rest of the model's answer; raises LlmError where it gave none."""
        self._completion = completion
        self.refused = bool(completion.refusal)
        rest = self._write(self._reader.take(completion.refusal) + self._reader.end())
        if not "".join(self._written).strip():
            if completion.text.strip():
                raise LlmError("the model's answer is nothing but citations of what was not given")
            raise LlmError(
                f"the model gave no text; it finished for the reason {completion.finish_reason!r}"
                + (", so max_answer_tokens is too few" * (completion.finish_reason == "length"))
            )
        return rest

    def extract(self) -> str:
        """Return an answer made of the sources' best sentences."""
        extracted = extract(self._question, self._sources)
        self._citations = extracted.citations
        return self._write(extracted.text)

    def refuse(self) -> str:
        """Return the text of an answer that there is not."""
        self._citations = ()
        return self._write(REFUSAL)

    def answer(self) -> Answer:
        """Return the whole answer."""
        text = "".join(self._written)
        citations = self._citations
        if citations is None:
            citations = tuple(citations_of(text, self._reader.marks, self._sources))
        ended_s = self._clock()
        return Answer(
            text=text,
            citations=citations,
            sources=self._sources,
            refused=self.refused,
            cut=self._completion.finish_reason in _CUT,
            usage=self._completion.usage,
            timings=Timings(
                search_s=self._found_s - self._started_s,
                fit_s=self._fitted_s - self._found_s,
                first_text_s=self._first_s - self._started_s,
                answer_s=ended_s - self._fitted_s,
                total_s=ended_s - self._started_s,
            ),
        )

    def _write(self, text: str) -> str:
        if text and not self._written:
            self._first_s = self._clock()
        if text:
            self._written.append(text)
        return text


def _is_relevant(hits: Sequence[SearchHit], min_probability: float) -> bool:
    """Tell whether any hit is probably relevant; where none has a score, any may be."""
    scored = [found.hit.score.probability for found in hits if found.hit.HasField("score")]
    return any(each >= min_probability for each in scored) if scored else bool(hits)
