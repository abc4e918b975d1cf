"""Write what the stages found as messages of the contract. Judge nothing but an answer's size."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from google.protobuf.message import Message

from finesieve.v1 import passages_pb2, rerank_pb2, results_pb2, retrieval_pb2, search_pb2
from finesieve_server.errors import AnswerTooLarge
from finesieve_server.index.records import (
    CollectionInfo,
    Distance,
    Found,
    FoundIds,
    Passage,
    State,
    View,
)
from finesieve_server.rpc.status import failure_of
from finesieve_server.rpc.turns import Turns
from finesieve_server.rpc.vectors import embedding_of
from finesieve_server.search.hits import SearchHit
from finesieve_server.search.ranking import Ranked, ScoreStatus, Usage
from finesieve_server.telemetry import StageTimes

# 4 MiB is what clients of other languages receive by default; the slack is for framing.
MAX_ANSWER_BYTES = 4 * 1024 * 1024 - 1024
# An id of one byte, both ranks, a score of 0, and two bytes for the hit's own tag and length.
MIN_HIT_BYTES = 11

Part = TypeVar("Part", bound=Message)
Hits: TypeAlias = "RepeatedCompositeFieldContainer[results_pb2.Hit]"
HitLists: TypeAlias = "RepeatedCompositeFieldContainer[retrieval_pb2.HitList]"

_DISTANCES = {
    Distance.COSINE: passages_pb2.DISTANCE_COSINE,
    Distance.DOT: passages_pb2.DISTANCE_DOT,
    Distance.L2: passages_pb2.DISTANCE_L2,
}
_STATES = {
    State.READY: passages_pb2.COLLECTION_STATE_READY,
    State.REBUILDING: passages_pb2.COLLECTION_STATE_REBUILDING,
    State.DAMAGED: passages_pb2.COLLECTION_STATE_DAMAGED,
}
_STATUSES = {
    ScoreStatus.SCORED: results_pb2.SCORE_STATUS_SCORED,
    ScoreStatus.TRUNCATED: results_pb2.SCORE_STATUS_TRUNCATED,
    ScoreStatus.DEADLINE: results_pb2.SCORE_STATUS_DEADLINE,
    ScoreStatus.FAILED: results_pb2.SCORE_STATUS_FAILED,
}


def within_one_message(answer: Message) -> bytes:
    """Return the answer's bytes. Raises AnswerTooLarge."""
    message = answer.SerializeToString()
    if len(message) > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(len(message), MAX_ANSWER_BYTES)
    return message


def check_hits(count: int) -> None:
    """Raises AnswerTooLarge where so many hits fit into no message, however small each is."""
    if count * MIN_HIT_BYTES > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(count * MIN_HIT_BYTES, MAX_ANSWER_BYTES)


class Room:
    """What one answer has taken so far."""

    def __init__(self) -> None:
        self._taken = 0
        self._turns = Turns()

    async def collect(self, parts: Iterable[Part]) -> list[Part]:
        """Return the parts, made one by one between other calls' turns.

        Raises AnswerTooLarge at the first that does not fit: no further one is made.
        """
        return await self._turns.collect(self._fitting(parts))

    def _fitting(self, parts: Iterable[Part]) -> Iterator[Part]:
        for part in parts:
            self._taken += part.ByteSize()
            if self._taken > MAX_ANSWER_BYTES:
                raise AnswerTooLarge(self._taken, MAX_ANSWER_BYTES)
            yield part


def collection(info: CollectionInfo) -> passages_pb2.Collection:
    spec = info.spec
    return passages_pb2.Collection(
        name=spec.name,
        embedding_model=spec.embedding_model,
        dimension=spec.dimension,
        distance=_DISTANCES[spec.distance],
        hnsw=passages_pb2.HnswOptions(
            m=spec.hnsw.m,
            ef_construction=spec.hnsw.ef_construction,
            ef_search=spec.hnsw.ef_search,
        ),
        passage_count=info.passage_count,
        create_time=info.create_time,
        update_time=info.update_time,
        caller_embeds=spec.caller_embeds,
        state=_STATES[info.state],
    )


def passage(record: Passage, view: View) -> passages_pb2.Passage:
    message = passages_pb2.Passage()
    _write_passage(record, view, message)
    return message


def _write_passage(record: Passage, view: View, message: passages_pb2.Passage) -> None:
    message.id = record.id
    if view is View.ID:
        return
    message.text = record.text
    message.title = record.title
    message.document_id = record.document_id
    message.ordinal = record.ordinal
    message.parent_id = record.parent_id
    message.context_only = record.context_only
    if record.metadata:
        message.metadata.update(dict(record.metadata))
    if view is View.WITH_EMBEDDING and record.embedding is not None:
        message.embedding.CopyFrom(embedding_of(record.embedding))


def retrieved(hits: Sequence[Found], view: View, into: Hits) -> Iterator[results_pb2.Hit]:
    """Yield the first stage's hits, best first, as they are written where they belong.

    They keep that rank as their own. In place, because each copy takes as long as the writing.
    """
    for rank, hit in enumerate(hits, start=1):
        message = into.add(rank=rank, retrieval_rank=rank, retrieval_score=hit.score)
        _write_passage(hit.passage, view, message.passage)
        yield message


def retrieved_for_each(
    rankings: Iterable[Sequence[Found]], view: View, into: HitLists
) -> Iterator[retrieval_pb2.HitList]:
    """Yield each query's hits, as they are written where they belong."""
    for hits in rankings:
        message = into.add()
        if isinstance(hits, FoundIds):
            _write_ids(hits, message.hits)
        else:
            deque(retrieved(hits, view, message.hits), maxlen=0)
        yield message


def _write_ids(found: FoundIds, into: Hits) -> None:
    # Field by field, which is quicker than by keywords: of a large batch this is the longest part
    # that one thread does alone.
    for rank, (id_, score) in enumerate(zip(found.ids, found.scores, strict=True), start=1):
        message = into.add()
        message.rank = rank
        message.retrieval_rank = rank
        message.retrieval_score = score
        message.passage.id = id_


def searched(hits: Sequence[SearchHit], view: View) -> Iterator[search_pb2.SearchHit]:
    """Yield both stages' hits, best first."""
    for rank, hit in enumerate(hits, start=1):
        message = results_pb2.Hit(
            passage=passage(hit.retrieved.passage, view),
            rank=rank,
            retrieval_rank=hit.retrieved.rank,
            retrieval_score=hit.retrieved.score,
        )
        if hit.ranked is not None:
            _add_score(message, hit.ranked)
        yield search_pb2.SearchHit(
            hit=message,
            before=[passage(each, view) for each in hit.neighbours.before],
            after=[passage(each, view) for each in hit.neighbours.after],
            merged_ids=hit.retrieved.merged_ids,
        )


def reranked(
    results: Sequence[Ranked], documents: Sequence[rerank_pb2.Document], *, return_documents: bool
) -> Iterator[rerank_pb2.RerankResult]:
    """Yield the results, best first; `documents` are the request's, which results point into."""
    for ranked in results:
        document = documents[ranked.index]
        message = rerank_pb2.RerankResult(index=ranked.index, id=document.id)
        _add_score(message, ranked)
        if message.failure.field:
            message.failure.field = f"documents[{ranked.index}].{message.failure.field}"
        if return_documents:
            message.document.CopyFrom(document)
        yield message


def timings(times: StageTimes, total_s: float) -> results_pb2.StageTimings:
    return results_pb2.StageTimings(
        tokenize_us=_microseconds(times.tokenize_s),
        queue_us=_microseconds(times.queue_s),
        embed_us=_microseconds(times.embed_s),
        retrieve_us=_microseconds(times.retrieve_s),
        rerank_us=_microseconds(times.rerank_s),
        total_us=_microseconds(total_s),
    )


def usage(counted: Usage) -> results_pb2.RerankUsage:
    return results_pb2.RerankUsage(
        pairs=counted.pairs, tokens=counted.tokens, cached_pairs=counted.cached_pairs
    )


def _add_score(message: results_pb2.Hit | rerank_pb2.RerankResult, ranked: Ranked) -> None:
    message.status = _STATUSES[ranked.status]
    if ranked.score is not None:
        message.score.logit = ranked.score.logit
        message.score.probability = ranked.score.probability
        message.score.ordering = ranked.score.ordering
    if ranked.best_span is not None:
        message.best_span.start, message.best_span.end = ranked.best_span
    if ranked.failure is not None:
        message.failure.CopyFrom(failure_of(ranked.failure))


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
