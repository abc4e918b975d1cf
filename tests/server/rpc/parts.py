"""A server over a real index and no models: what has to score or embed is a fake."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finesieve_server.index.catalog import Catalog
from finesieve_server.rpc.serving import FirstStage, Parts, Serving
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.collections import Collections
from finesieve_server.search.embedder import Embedded, Role
from finesieve_server.search.ingester import Ingester
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.ranking import (
    Ranked,
    Ranking,
    Score,
    ScoreStatus,
    Usage,
)
from finesieve_server.search.retriever import Retriever
from finesieve_server.search.texts import TokenizerPool
from finesieve_server.search.two_stage import SearchQuery, SearchResult
from finesieve_server.telemetry import Metrics

LIMITS = Limits(max_documents=50, max_texts=50, max_passages=200, max_page_size=50)


class LengthReranker:
    """Scores a candidate by its length; queries that are named in `failures` fail."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.asked: list[tuple[str, list[Candidate], RerankOptions]] = []

    async def rank(
        self, query: str, candidates: Sequence[Candidate], options: RerankOptions, call: Call
    ) -> Ranking:
        self.asked.append((query, list(candidates), options))
        if query in self.failures:
            raise self.failures[query]
        call.times.add("rerank", 0.25)
        ranked = [
            Ranked(index, ScoreStatus.SCORED, Score(len(each.text), 0.5, len(each.text)))
            for index, each in enumerate(candidates)
        ]
        ranked.sort(key=lambda each: -each.score.ordering if each.score else 0)
        usage = Usage(pairs=len(ranked), tokens=7)
        return Ranking(
            ranked, "length", own_weight=0.3, partial=False, query_truncated=True, usage=usage
        )


class LengthEmbedder:
    """Embeds a text as its length and its role."""

    async def embed(
        self, texts: Sequence[str], role: Role, call: Call, *, model: str = ""
    ) -> Embedded:
        call.times.add("embed", 0.5)
        vectors = np.array([[len(text), role.value] for text in texts], np.float32)
        return Embedded(vectors, model or "length", tokens=11, truncated=[0])


@dataclass
class CannedSearch:
    """Answers every search with what the test gave it."""

    result: SearchResult = field(default_factory=lambda: SearchResult([]))
    asked: list[SearchQuery] = field(default_factory=list)

    async def search(self, query: SearchQuery, call: Call) -> SearchResult:
        self.asked.append(query)
        return self.result


def serving_over(
    catalog: Catalog,
    *,
    reranker: object | None = None,
    embedder: object | None = None,
    two_stage: object | None = None,
    limits: Limits = LIMITS,
    **options: Any,
) -> Serving:
    """Return a server on a free port of loopback, unless the options say otherwise."""
    models = Models([])
    # Fakes where classes are named: the services use one method of each.
    fakes: dict[str, Any] = {
        "embedder": embedder or LengthEmbedder(),
        "two_stage": two_stage or CannedSearch(),
    }
    second_stage: Any = reranker or LengthReranker()
    first_stage = FirstStage(
        catalog=catalog,
        retriever=Retriever(catalog, models, fakes["embedder"], limits),
        ingester=Ingester(catalog, models, fakes["embedder"], TokenizerPool(1), limits),
        collections=Collections(catalog, models),
        **fakes,
    )
    parts = Parts(models, first_stage, second_stage)
    settings = {
        "host": "127.0.0.1",
        "port": 0,
        "default_deadline_s": 30.0,
        "max_calls": 64,
        "max_request_bytes": 1024 * 1024,
    }
    return Serving(parts, limits=limits, metrics=Metrics(), **{**settings, **options})
