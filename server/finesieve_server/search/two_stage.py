"""Both stages in one call, inside one deadline: retrieve, merge, rerank, choose, widen."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from finesieve_server.index.records import View
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.context import Context, ContextReader
from finesieve_server.search.diversity import diversify
from finesieve_server.search.hits import Retrieved, SearchHit
from finesieve_server.search.limits import Limits
from finesieve_server.search.ranking import Usage
from finesieve_server.search.reranker import Reranker
from finesieve_server.search.retriever import Query, RetrievalOptions, Retriever
from finesieve_server.search.texts import check_text

# What a partial answer's hits are chosen and widened in, once they are ranked.
_AFTERWARDS_S = 0.02


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to find where. `retrieval.top_k` candidates go on to the second stage, `rerank` says
    how they are ordered there (None: not at all), `top_n` come back.

    With `retrieval_queries`, candidates are found by these instead of the text. With a
    `relevance_weight`, those that come back are chosen for being unlike each other too.
    """

    collection: str
    text: str
    retrieval: RetrievalOptions
    rerank: RerankOptions | None
    top_n: int
    context: Context = Context()
    relevance_weight: float | None = None
    retrieval_queries: Sequence[Query] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits, best first."""

    hits: list[SearchHit]
    partial: bool = False
    query_truncated: bool = False
    usage: Usage = Usage()


class TwoStage:
    """The coarse sieve, then the fine one."""

    def __init__(
        self, retriever: Retriever, reranker: Reranker, context: ContextReader, limits: Limits
    ) -> None:
        self._retriever = retriever
        self._reranker = reranker
        self._context = context
        self._limits = limits

    async def search(self, query: SearchQuery, call: Call) -> SearchResult:
        """Return the best hits. Raises what either stage raises, and AnswerTooLarge."""
        check_text("query", query.text, self._limits.max_query_chars)
        candidates = await self._retrieve(query, call)
        result = await self._rank(query, candidates, call)
        best = await _best(query, result.hits)
        return replace(result, hits=await self._widened(query, best, call))

    async def _retrieve(self, query: SearchQuery, call: Call) -> list[Retrieved]:
        view = _view(query)
        found = await self._retriever.retrieve_together(
            query.collection,
            query.retrieval_queries or [Query(query.text)],
            replace(query.retrieval, view=view),
            call,
            paths=[f"retrieval_queries[{at}]." for at in range(len(query.retrieval_queries) or 1)],
            tokens_of=self._reranker.tokens_key(query.rerank) if query.rerank else "",
        )
        with call.times.measure("retrieve"):
            return await self._context.merge(
                query.collection, found, query.context.merge_share, view
            )

    async def _rank(
        self, query: SearchQuery, retrieved: Sequence[Retrieved], call: Call
    ) -> SearchResult:
        if query.rerank is None:
            return SearchResult([SearchHit(each) for each in retrieved])
        candidates = [
            Candidate(each.passage.text, each.passage.title, each.score, each.tokens)
            for each in retrieved
        ]
        widens = query.context.window or query.relevance_weight is not None
        if query.rerank.partial and widens:
            call = replace(call, deadline=call.deadline - _AFTERWARDS_S)
        ranking = await self._reranker.rank(query.text, candidates, query.rerank, call)
        hits = [SearchHit(retrieved[each.index], each) for each in ranking.results]
        return SearchResult(hits, ranking.partial, ranking.query_truncated, ranking.usage)

    async def _widened(
        self, query: SearchQuery, hits: list[SearchHit], call: Call
    ) -> list[SearchHit]:
        if not query.context.window:
            return hits
        passages = [hit.retrieved.passage for hit in hits]
        with call.times.measure("retrieve"):
            around = await self._context.neighbours(
                query.collection, passages, query.context, query.retrieval.view
            )
        return [replace(hit, neighbours=each) for hit, each in zip(hits, around, strict=True)]


def _view(query: SearchQuery) -> View:
    """Return how much of a passage the search itself reads, beside what its caller wants back."""
    if query.relevance_weight is not None:
        return View.WITH_EMBEDDING
    reads = query.rerank or query.context.window or query.context.merge_share
    return View.FULL if reads and query.retrieval.view is View.ID else query.retrieval.view


async def _best(query: SearchQuery, hits: list[SearchHit]) -> list[SearchHit]:
    if query.relevance_weight is None:
        return hits[: query.top_n]
    # Off the event loop: a thousand hits of a large dimension take a second.
    return await asyncio.to_thread(diversify, hits, query.relevance_weight, query.top_n)
