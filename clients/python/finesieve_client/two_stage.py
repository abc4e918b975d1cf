"""Chain both stages from the client's side: retrieve here, rerank there, within one deadline.

The answer is the one that the server's own Search gives, so that either serves the same code.
"""

import time
from dataclasses import dataclass
from typing import Unpack

import grpc

from finesieve.v1.rerank_pb2 import Document, RerankResponse
from finesieve.v1.results_pb2 import SCORE_STATUS_DEADLINE, Hit, StageTimings
from finesieve.v1.retrieval_pb2 import RetrieveResponse
from finesieve.v1.search_pb2 import SearchHit, SearchResponse
from finesieve_client.async_client import AsyncClient
from finesieve_client.calls import ranking
from finesieve_client.calls.call import Call
from finesieve_client.client import Client
from finesieve_client.errors import DeadlineExceeded
from finesieve_client.options import BothStages, SecondStage, split_stages

RETRIEVE_K = 100
TOP_N = 10


class TwoStage:
    """Search over two servers, or over one where `reranking` is left out.

    `search` returns what `Client.search` does and takes both stages' options; the first stage's
    scores go along, so that the second stage blends them. `on_deadline="partial"` answers with
    the first stage's order where that took all the time.
    """

    def __init__(self, retrieval: Client, reranking: Client | None = None) -> None:
        self._retrieval = retrieval
        self._reranking = reranking or retrieval

    def search(
        self,
        collection: str,
        query: str,
        *,
        retrieve_k: int = RETRIEVE_K,
        top_n: int = TOP_N,
        timeout_s: float | None = None,
        **options: Unpack[BothStages],
    ) -> SearchResponse:
        """Retrieve `retrieve_k` candidates, rerank them, return the best `top_n`."""
        limit_s = self._retrieval.timeout_s if timeout_s is None else timeout_s
        chain = Chain.of(collection, query, retrieve_k, top_n, limit_s, options)
        retrieved = self._retrieval.call(chain.retrieve)
        rerank = chain.rerank(retrieved)
        reranked = None if rerank is None else self._reranking.call(rerank)
        return chain.answer(retrieved, reranked)


class AsyncTwoStage:
    """What `TwoStage` is, for asyncio."""

    def __init__(self, retrieval: AsyncClient, reranking: AsyncClient | None = None) -> None:
        self._retrieval = retrieval
        self._reranking = reranking or retrieval

    async def search(
        self,
        collection: str,
        query: str,
        *,
        retrieve_k: int = RETRIEVE_K,
        top_n: int = TOP_N,
        timeout_s: float | None = None,
        **options: Unpack[BothStages],
    ) -> SearchResponse:
        """Retrieve `retrieve_k` candidates, rerank them, return the best `top_n`."""
        limit_s = self._retrieval.timeout_s if timeout_s is None else timeout_s
        chain = Chain.of(collection, query, retrieve_k, top_n, limit_s, options)
        retrieved = await self._retrieval.call(chain.retrieve)
        rerank = chain.rerank(retrieved)
        reranked = None if rerank is None else await self._reranking.call(rerank)
        return chain.answer(retrieved, reranked)


@dataclass(frozen=True, slots=True)
class Chain:
    """One search as two calls: what to ask first, what to ask then, what both make together."""

    query: str
    retrieve: Call[RetrieveResponse]
    top_n: int
    second: SecondStage
    started_s: float
    timeout_s: float

    @classmethod
    def of(
        cls,
        collection: str,
        query: str,
        retrieve_k: int,
        top_n: int,
        timeout_s: float,
        options: BothStages,
    ) -> "Chain":
        """Begin a search; its deadline counts from now."""
        first, second = split_stages(options)
        retrieve = ranking.retrieve(
            collection, query, top_k=retrieve_k or RETRIEVE_K, timeout_s=timeout_s, **first
        )
        return cls(query, retrieve, top_n or TOP_N, second, time.monotonic(), timeout_s)

    def rerank(self, retrieved: RetrieveResponse) -> Call[RerankResponse] | None:
        """Return the second call, or None where nothing was found or a partial answer is due."""
        if not retrieved.hits:
            return None
        left_s = self.started_s + self.timeout_s - time.monotonic()
        if left_s <= 0:
            if self.second.get("on_deadline") == "partial":
                return None
            raise DeadlineExceeded(
                f"the first stage took all of the {self.timeout_s:g} s",
                code=grpc.StatusCode.DEADLINE_EXCEEDED,
            )
        documents = [document_of(hit) for hit in retrieved.hits]
        return ranking.rerank(
            self.query, documents, top_n=self.top_n, timeout_s=left_s, **self.second
        )

    def answer(
        self, retrieved: RetrieveResponse, reranked: RerankResponse | None
    ) -> SearchResponse:
        """Return the hits in their last order, with where the time went over both calls."""
        if reranked is None:
            hits = unscored(retrieved, self.top_n)
            return SearchResponse(
                hits=hits, partial=bool(hits), timings=self._timings(retrieved.timings)
            )
        return SearchResponse(
            hits=reordered(retrieved, reranked),
            partial=reranked.partial,
            timings=self._timings(retrieved.timings, reranked.timings),
            usage=reranked.usage,
            query_truncated=reranked.query_truncated,
        )

    def _timings(self, *calls: StageTimings) -> StageTimings:
        """Add up the calls' stages; the total is what the caller waited, the network included."""
        return StageTimings(
            tokenize_us=sum(call.tokenize_us for call in calls),
            queue_us=sum(call.queue_us for call in calls),
            embed_us=sum(call.embed_us for call in calls),
            retrieve_us=sum(call.retrieve_us for call in calls),
            rerank_us=sum(call.rerank_us for call in calls),
            total_us=round((time.monotonic() - self.started_s) * 1e6),
        )


def document_of(hit: Hit) -> Document:
    """Return a first stage's hit as what the second stage reads."""
    return Document(
        id=hit.passage.id,
        text=hit.passage.text,
        title=hit.passage.title,
        first_stage_score=hit.retrieval_score,
    )


def reordered(retrieved: RetrieveResponse, reranked: RerankResponse) -> list[SearchHit]:
    """Return the first stage's hits in the second stage's order, with both stages' scores."""
    hits = []
    for rank, result in enumerate(reranked.results, start=1):
        first = retrieved.hits[result.index]
        hit = Hit(
            passage=first.passage,
            rank=rank,
            retrieval_rank=first.retrieval_rank,
            retrieval_score=first.retrieval_score,
            score=result.score if result.HasField("score") else None,
            status=result.status,
            best_span=result.best_span if result.HasField("best_span") else None,
            failure=result.failure if result.HasField("failure") else None,
        )
        hits.append(SearchHit(hit=hit))
    return hits


def unscored(retrieved: RetrieveResponse, top_n: int) -> list[SearchHit]:
    """Return the first stage's order, where the deadline left no time for the second."""
    hits = [SearchHit(hit=hit) for hit in retrieved.hits[:top_n]]
    for found in hits:
        found.hit.status = SCORE_STATUS_DEADLINE
    return hits
