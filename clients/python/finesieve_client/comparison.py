"""Put what the first stage found beside what reranking made of it."""

import time
from dataclasses import dataclass
from typing import Protocol, Unpack

from finesieve.v1.results_pb2 import Hit, RerankUsage, StageTimings
from finesieve.v1.search_pb2 import SearchResponse
from finesieve_client.options import BothStages

CANDIDATES = 50
SHOWN = 10


class Searcher(Protocol):
    """What answers a search over both stages: a `Client` or a `TwoStage`."""

    def search(
        self,
        collection: str,
        query: str,
        *,
        retrieve_k: int = ...,
        top_n: int = ...,
        timeout_s: float | None = ...,
        **options: Unpack[BothStages],
    ) -> SearchResponse:
        """Retrieve, rerank, and return the best."""


@dataclass(frozen=True, slots=True)
class RankChange:
    """What reranking made of one candidate; ranks count from 1.

    `probability` and `ordering`, what the new order goes by, are None where it was not scored.
    """

    passage_id: str
    title: str
    from_rank: int
    to_rank: int
    retrieval_score: float
    probability: float | None
    ordering: float | None

    @property
    def moved(self) -> int:
        """Return how many places it moved; positive is up."""
        return self.from_rank - self.to_rank


@dataclass(frozen=True, slots=True)
class Comparison:
    """One query's hits after each stage, best first; `hits` are all candidates, reranked.

    Every hit carries both ranks and both scores.
    """

    collection: str
    query: str
    hits: tuple[Hit, ...]
    top_n: int
    timings: StageTimings
    usage: RerankUsage
    round_trip_us: int
    partial: bool

    @property
    def changes(self) -> tuple[RankChange, ...]:
        """Return how every candidate's rank changed, in the new order."""
        return tuple(map(_change, self.hits))

    @property
    def first_stage(self) -> tuple[Hit, ...]:
        """Return the first stage's best `top_n`."""
        return tuple(sorted(self.hits, key=lambda hit: hit.retrieval_rank)[: self.top_n])

    @property
    def second_stage(self) -> tuple[Hit, ...]:
        """Return the best `top_n` after reranking."""
        return self.hits[: self.top_n]

    def is_new(self, hit: Hit) -> bool:
        """Tell whether the first stage alone would not have shown this hit."""
        return hit.retrieval_rank > self.top_n

    @property
    def num_new(self) -> int:
        """Return how many of the shown hits only reranking brought up."""
        return sum(map(self.is_new, self.second_stage))


def moved(hit: Hit) -> int:
    """Return how many places reranking moved a hit; positive is up."""
    return hit.retrieval_rank - hit.rank


def compare(
    searcher: Searcher,
    collection: str,
    query: str,
    *,
    retrieve_k: int = CANDIDATES,
    top_n: int = SHOWN,
    timeout_s: float | None = None,
    **options: Unpack[BothStages],
) -> Comparison:
    """Search once, have all candidates returned, and set both orders side by side."""
    started = time.perf_counter()
    answer = searcher.search(
        collection, query, retrieve_k=retrieve_k, top_n=retrieve_k, timeout_s=timeout_s, **options
    )
    return Comparison(
        collection=collection,
        query=query,
        hits=tuple(found.hit for found in answer.hits),
        top_n=top_n,
        timings=answer.timings,
        usage=answer.usage,
        round_trip_us=round((time.perf_counter() - started) * 1e6),
        partial=answer.partial,
    )


def _change(hit: Hit) -> RankChange:
    score = hit.score if hit.HasField("score") else None
    return RankChange(
        passage_id=hit.passage.id,
        title=hit.passage.title,
        from_rank=hit.retrieval_rank,
        to_rank=hit.rank,
        retrieval_score=hit.retrieval_score,
        probability=None if score is None else score.probability,
        ordering=None if score is None else score.ordering,
    )
