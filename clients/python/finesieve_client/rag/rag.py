"""Answer questions from a collection: search, fit into a budget, ask a model, cite.

`turn` decides all of it; here the server and the model are called, waiting or awaited.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import aclosing, closing
from typing import Unpack

from finesieve.v1.passages_pb2 import Filter
from finesieve_client.async_client import AsyncClient
from finesieve_client.calls.ranking import Query
from finesieve_client.client import Client
from finesieve_client.errors import FailedPrecondition, NotFound, Unimplemented
from finesieve_client.filters import Condition
from finesieve_client.options import SearchOptions
from finesieve_client.rag.budget import corrected, estimated
from finesieve_client.rag.llm import AsyncLlm, Llm
from finesieve_client.rag.turn import Answer, Recipe, Turn
from finesieve_client.token_counting import parts

TOKEN_BUDGET = 3_000
CountTokens = Callable[[Sequence[str]], Sequence[int]]
# What a server says that counts no tokens: it has no bi-encoder, or not this one.
_NO_COUNT = (FailedPrecondition, NotFound, Unimplemented)


class Rag:
    """Answers questions from one collection, for any number of threads.

    Passages are found by both stages, with all options of `Client.search` but `retrieval_queries`,
    which `ask` takes; long passages are scored in chunks unless `long_passage` says otherwise.
    Where hits are scored and none's probability reaches `min_probability` (0.1) the answer is a
    refusal and no model is asked. Passages go to the model whole, best first, up to
    `token_budget` tokens, as the collection's own model counts them, and not fewer than their
    bytes make likely; or as `count_tokens` does, given many texts at once.
    Without `llm` an answer is made of the passages' own best sentences.
    """

    def __init__(
        self,
        client: Client,
        collection: str,
        llm: Llm | None = None,
        *,
        token_budget: int = TOKEN_BUDGET,
        max_answer_tokens: int | None = None,
        count_tokens: CountTokens | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        """Send nothing yet; raises TypeError or ValueError for options that there are not."""
        self._client = client
        self._llm = llm
        self._recipe = Recipe.of(collection, token_budget, **options)
        self._max_answer_tokens = max_answer_tokens
        self._count_tokens = count_tokens
        self._model: str | None = None

    def ask(
        self,
        question: str,
        *,
        filter: Condition | Filter | None = None,
        retrieval_queries: Iterable[Query] = (),
    ) -> Answer:
        """Return the answer to a question; raises FinesieveError and LlmError.

        `filter` holds beside the one that all questions have. `retrieval_queries` are what is
        retrieved with in the question's place (HyDE, query expansion).
        """
        events = self.stream(question, filter=filter, retrieval_queries=retrieval_queries)
        return next(event for event in events if isinstance(event, Answer))

    def stream(
        self,
        question: str,
        *,
        filter: Condition | Filter | None = None,
        retrieval_queries: Iterable[Query] = (),
    ) -> Generator[str | Answer, None, None]:
        """Yield the answer's text in pieces as they come, and at the end the whole Answer."""
        turn = Turn(question, self._recipe)
        turn.found(self._client.call(self._recipe.search(question, filter, retrieval_queries)))
        if turn.refused:
            yield turn.refuse()
        else:
            turn.fit(self._count(turn.texts()))
            yield from self._answer(turn)
        yield turn.answer()

    def _answer(self, turn: Turn) -> Generator[str, None, None]:
        if self._llm is None:
            yield turn.extract()
            return
        answered = self._llm.stream(turn.messages(), max_tokens=self._max_answer_tokens)
        with closing(answered):
            for piece in answered:
                if text := turn.take(piece):
                    yield text
        if rest := turn.end(answered.completion):
            yield rest

    def _count(self, texts: Sequence[str]) -> Sequence[int]:
        if self._count_tokens is not None:
            return self._count_tokens(texts)
        try:
            model = self._collections_model()
            if not model:
                return estimated(texts)
            answers = [self._client.count_tokens(part, model=model) for part in parts(texts)]
        except _NO_COUNT:
            return estimated(texts)
        return corrected(texts, [count for answer in answers for count in answer.tokens])

    def _collections_model(self) -> str:
        if self._model is None:
            described = self._client.get_collection(self._recipe.collection)
            self._model = described.collection.embedding_model
        return self._model


class AsyncRag:
    """What `Rag` is, for asyncio."""

    def __init__(
        self,
        client: AsyncClient,
        collection: str,
        llm: AsyncLlm | None = None,
        *,
        token_budget: int = TOKEN_BUDGET,
        max_answer_tokens: int | None = None,
        count_tokens: CountTokens | None = None,
        **options: Unpack[SearchOptions],
    ) -> None:
        """Send nothing yet; raises TypeError or ValueError for options that there are not."""
        self._client = client
        self._llm = llm
        self._recipe = Recipe.of(collection, token_budget, **options)
        self._max_answer_tokens = max_answer_tokens
        self._count_tokens = count_tokens
        self._model: str | None = None

    async def ask(
        self,
        question: str,
        *,
        filter: Condition | Filter | None = None,
        retrieval_queries: Iterable[Query] = (),
    ) -> Answer:
        """Return the answer to a question; raises FinesieveError and LlmError.

        `filter` holds beside the one that all questions have. `retrieval_queries` are what is
        retrieved with in the question's place (HyDE, query expansion).
        """
        events = self.stream(question, filter=filter, retrieval_queries=retrieval_queries)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Answer):
                    return event
        raise AssertionError  # an answer is the last event

    async def stream(
        self,
        question: str,
        *,
        filter: Condition | Filter | None = None,
        retrieval_queries: Iterable[Query] = (),
    ) -> AsyncGenerator[str | Answer, None]:
        """Yield the answer's text in pieces as they come, and at the end the whole Answer."""
        turn = Turn(question, self._recipe)
        search = self._recipe.search(question, filter, retrieval_queries)
        turn.found(await self._client.call(search))
        if turn.refused:
            yield turn.refuse()
        else:
            turn.fit(await self._count(turn.texts()))
            async with aclosing(self._answer(turn)) as texts:
                async for text in texts:
                    yield text
        yield turn.answer()

    async def _answer(self, turn: Turn) -> AsyncGenerator[str, None]:
        if self._llm is None:
            yield turn.extract()
            return
        answered = self._llm.stream(turn.messages(), max_tokens=self._max_answer_tokens)
        async with aclosing(answered):
            async for piece in answered:
                if text := turn.take(piece):
                    yield text
        if rest := turn.end(answered.completion):
            yield rest

    async def _count(self, texts: Sequence[str]) -> Sequence[int]:
        if self._count_tokens is not None:
            return self._count_tokens(texts)
        try:
            model = await self._collections_model()
            if not model:
                return estimated(texts)
            answers = [await self._client.count_tokens(part, model=model) for part in parts(texts)]
        except _NO_COUNT:
            return estimated(texts)
        return corrected(texts, [count for answer in answers for count in answer.tokens])

    async def _collections_model(self) -> str:
        if self._model is None:
            described = await self._client.get_collection(self._recipe.collection)
            self._model = described.collection.embedding_model
        return self._model
