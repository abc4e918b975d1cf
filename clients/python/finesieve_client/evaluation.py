"""Measure both stages of a running server on labelled queries.

Every query is retrieved once and its candidates are reranked once, with the first stage's scores:
the answer's order is the blend of both stages, and its logits give the cross-encoder's own order,
because a logit depends on the pair alone. Where the question is rewritten, it is retrieved with
several queries; the second stage still reads the question.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from finesieve.v1.rerank_pb2 import RerankResponse, RerankResult
from finesieve.v1.results_pb2 import Hit
from finesieve_client.async_client import AsyncClient
from finesieve_client.options import Mode, SecondStage
from finesieve_client.two_stage import document_of

FIRST_STAGE, CROSS_ENCODER, BOTH = ARMS = ("first stage", "cross-encoder", "both")
REWRITE, RETRIEVE, RERANK = STAGES = ("rewrite", "retrieve", "rerank")
MAX_RECALL_DEPTH = 100

Rewrite = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Ranking:
    """One query's passage ids as each arm orders them, best first, and what each stage took."""

    query_id: str
    order: Mapping[str, Sequence[str]]
    stage_s: Mapping[str, float]
    unscored: int


@dataclass(frozen=True, slots=True)
class Latency:
    """What one stage's calls took as the caller saw it, in milliseconds."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What each arm is worth by each measure, and what each stage took."""

    num_queries: int
    quality: Mapping[str, Mapping[str, float]]
    latency: Mapping[str, Latency]
    unscored: int


class Evaluator:
    """Ranks queries on one collection by every arm.

    `rewrite` turns a question into the queries to retrieve with.
    """

    def __init__(
        self,
        client: AsyncClient,
        collection: str,
        retrieve_k: int,
        options: SecondStage,
        *,
        mode: Mode = "dense",
        rewrite: Rewrite | None = None,
    ) -> None:
        self._client = client
        self._collection = collection
        self._retrieve_k = retrieve_k
        self._options = options
        self._mode = mode
        self._rewrite = rewrite

    async def rank_all(
        self, queries: Mapping[str, str], calls_at_once: int
    ) -> AsyncIterator[Ranking]:
        """Yield one ranking per query as it is known, so many queries at a time."""
        room = asyncio.Semaphore(calls_at_once)

        async def rank(query_id: str, query: str) -> Ranking:
            async with room:
                return await self.rank(query_id, query)

        tasks = [asyncio.create_task(rank(*query)) for query in queries.items()]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for task in tasks:
                task.cancel()

    async def rank(self, query_id: str, query: str) -> Ranking:
        """Rank one query."""
        started = time.perf_counter()
        queries = None if self._rewrite is None else await self._rewrite(query)
        rewritten_s = time.perf_counter()
        hits = await self._retrieve(query, queries)
        retrieved_s = time.perf_counter()
        reranked = RerankResponse()
        if hits:
            documents = [document_of(hit) for hit in hits]
            reranked = await self._client.rerank(query, documents, **self._options)
        reranked_s = time.perf_counter()
        return Ranking(
            query_id=query_id,
            order={
                FIRST_STAGE: [hit.passage.id for hit in hits],
                CROSS_ENCODER: [result.id for result in cross_encoder_order(reranked.results)],
                BOTH: [result.id for result in reranked.results],
            },
            stage_s={
                **({} if queries is None else {REWRITE: rewritten_s - started}),
                RETRIEVE: retrieved_s - rewritten_s,
                RERANK: reranked_s - retrieved_s,
            },
            unscored=sum(not result.HasField("score") for result in reranked.results),
        )

    async def _retrieve(self, query: str, queries: Sequence[str] | None) -> Sequence[Hit]:
        if queries is None:
            retrieved = await self._client.retrieve(
                self._collection, query, top_k=self._retrieve_k, mode=self._mode
            )
            return retrieved.hits
        fused = await self._client.search(
            self._collection,
            query,
            retrieve_k=self._retrieve_k,
            top_n=self._retrieve_k,
            skip_rerank=True,
            retrieval_queries=queries,
            mode=self._mode,
        )
        return [found.hit for found in fused.hits]


def sample(queries: Mapping[str, str], count: int | None, seed: int) -> dict[str, str]:
    """Return so many queries, the same ones for the same seed; all of them without a count."""
    ids = sorted(queries)
    if count is not None and count < len(ids):
        ids = random.Random(seed).sample(ids, count)  # noqa: S311  no secret
    return {query_id: queries[query_id] for query_id in ids}


def cross_encoder_order(results: Sequence[RerankResult]) -> list[RerankResult]:
    """Return results by their logits; equal ones and, at the end, unscored ones by the request."""
    return sorted(
        results,
        key=lambda result: (
            not result.HasField("score"),
            -result.score.logit,
            result.index,
        ),
    )


def evaluation_of(
    rankings: Sequence[Ranking], relevant: Mapping[str, Mapping[str, int]], retrieve_k: int
) -> Evaluation:
    """Return every arm's quality by ir-measures, over the ranked queries alone."""
    import ir_measures

    depth = min(retrieve_k, MAX_RECALL_DEPTH)
    measures = {
        "nDCG@10": ir_measures.nDCG @ 10,
        f"recall@{depth}": ir_measures.R @ depth,
        "MRR@10": ir_measures.RR @ 10,
    }
    judged = {ranking.query_id: dict(relevant[ranking.query_id]) for ranking in rankings}
    quality = {}
    for arm in ARMS:
        run = {ranking.query_id: _scored(ranking.order[arm]) for ranking in rankings}
        values = ir_measures.calc_aggregate(measures.values(), judged, run)
        quality[arm] = {name: float(values[measure]) for name, measure in measures.items()}
    return Evaluation(
        num_queries=len(rankings),
        quality=quality,
        latency={
            stage: _latency([each.stage_s[stage] for each in rankings])
            for stage in STAGES
            if stage in rankings[0].stage_s
        },
        unscored=sum(ranking.unscored for ranking in rankings),
    )


def _scored(ids: Sequence[str]) -> dict[str, float]:
    """Return scores that say nothing but the order, so that no tie is left to be broken."""
    return {passage_id: float(len(ids) - place) for place, passage_id in enumerate(ids)}


def _latency(seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)

    def percentile(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1] * 1e3

    return Latency(p50_ms=percentile(0.50), p95_ms=percentile(0.95))
