"""Read requests into plain records, with the contract's defaults, counts and ranges.

Texts are checked by the stages that read them, vectors by the index.
"""

import re
from collections.abc import Mapping, Sequence, Sized
from typing import TypeVar

from google.protobuf.message import Message

from finesieve.v1 import (
    embedding_pb2,
    passages_pb2,
    rerank_pb2,
    results_pb2,
    retrieval_pb2,
    search_pb2,
)
from finesieve_server.batching.plan import Priority
from finesieve_server.errors import BatchTooLarge, EmptyField, InvalidArgument
from finesieve_server.index.records import Distance, HnswOptions, View
from finesieve_server.rpc.filters import read_filter
from finesieve_server.rpc.vectors import array_of
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.context import Context
from finesieve_server.search.embedder import Role
from finesieve_server.search.limits import Limits
from finesieve_server.search.pairs import LongPassage
from finesieve_server.search.retriever import Mode, Query, RetrievalOptions

T = TypeVar("T")

DEFAULT_RELEVANCE_WEIGHT = 0.5

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")

_DISTANCES: Mapping[int, Distance | None] = {
    passages_pb2.DISTANCE_UNSPECIFIED: None,
    passages_pb2.DISTANCE_COSINE: Distance.COSINE,
    passages_pb2.DISTANCE_DOT: Distance.DOT,
    passages_pb2.DISTANCE_L2: Distance.L2,
}
_VIEWS: Mapping[int, View] = {
    passages_pb2.PASSAGE_VIEW_UNSPECIFIED: View.FULL,
    passages_pb2.PASSAGE_VIEW_ID: View.ID,
    passages_pb2.PASSAGE_VIEW_FULL: View.FULL,
    passages_pb2.PASSAGE_VIEW_WITH_EMBEDDING: View.WITH_EMBEDDING,
}
_ROLES: Mapping[int, Role] = {
    embedding_pb2.TEXT_ROLE_UNSPECIFIED: Role.PASSAGE,
    embedding_pb2.TEXT_ROLE_QUERY: Role.QUERY,
    embedding_pb2.TEXT_ROLE_PASSAGE: Role.PASSAGE,
}
_LONG_PASSAGES: Mapping[int, LongPassage] = {
    rerank_pb2.LONG_PASSAGE_UNSPECIFIED: LongPassage.TRUNCATE,
    rerank_pb2.LONG_PASSAGE_TRUNCATE: LongPassage.TRUNCATE,
    rerank_pb2.LONG_PASSAGE_CHUNK: LongPassage.CHUNK,
    rerank_pb2.LONG_PASSAGE_FAIL: LongPassage.FAIL,
}
_PARTIAL: Mapping[int, bool] = {
    rerank_pb2.ON_DEADLINE_UNSPECIFIED: False,
    rerank_pb2.ON_DEADLINE_FAIL: False,
    rerank_pb2.ON_DEADLINE_PARTIAL: True,
}
_PRIORITIES: Mapping[int, Priority] = {
    rerank_pb2.PRIORITY_UNSPECIFIED: Priority.INTERACTIVE,
    rerank_pb2.PRIORITY_INTERACTIVE: Priority.INTERACTIVE,
    rerank_pb2.PRIORITY_BULK: Priority.BULK,
}
_MODES: Mapping[int, Mode] = {
    results_pb2.RETRIEVAL_MODE_UNSPECIFIED: Mode.DENSE,
    results_pb2.RETRIEVAL_MODE_DENSE: Mode.DENSE,
    results_pb2.RETRIEVAL_MODE_LEXICAL: Mode.LEXICAL,
    results_pb2.RETRIEVAL_MODE_HYBRID: Mode.HYBRID,
}


def check_count(field: str, elements: Sized, limit: int) -> None:
    """Raises EmptyField for none, BatchTooLarge for too many."""
    if not len(elements):
        raise EmptyField(field)
    if len(elements) > limit:
        raise BatchTooLarge(field, len(elements), limit)


def within(field: str, value: int, default: int, low: int, high: int) -> int:
    """Return the value, or the default where it is 0. Raises InvalidArgument out of range."""
    if not value:
        return default
    if not low <= value <= high:
        raise InvalidArgument(field, f"is {value}; allowed {low}..{high}")
    return value


def collection_name(name: str, field: str = "collection") -> str:
    if not name:
        raise EmptyField(field)
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            field,
            "may hold lower-case letters, digits, '-' and '_', 1..64 characters, a letter first",
        )
    return name


def view(value: int) -> View:
    return _known("view", value, _VIEWS)


def role(value: int) -> Role:
    return _known("role", value, _ROLES)


def distance(value: int) -> Distance | None:
    return _known("distance", value, _DISTANCES)


def hnsw(message: passages_pb2.HnswOptions, limits: Limits) -> HnswOptions:
    default = HnswOptions()
    return HnswOptions(
        m=within("hnsw.m", message.m, default.m, 2, 128),
        ef_construction=within(
            "hnsw.ef_construction", message.ef_construction, default.ef_construction, 8, 4096
        ),
        ef_search=within(
            "hnsw.ef_search", message.ef_search, default.ef_search, 1, limits.max_ef_search
        ),
    )


def query(
    message: retrieval_pb2.RetrieveRequest | retrieval_pb2.RetrievalQuery, path: str
) -> Query:
    kind = message.WhichOneof("query")
    if kind is None:
        raise EmptyField(path, "has neither a text nor an embedding")
    if kind == "text":
        return Query(text=message.text, words=message.words)
    return Query(embedding=array_of(message.embedding), words=message.words)


def retrieval_options(
    message: results_pb2.RetrievalOptions,
    path: str,
    *,
    top_k: int,
    filter_message: passages_pb2.Filter | None,
    view: View,
    limits: Limits,
) -> RetrievalOptions:
    """Return the options; `top_k` has its default and range already."""
    return RetrievalOptions(
        top_k=top_k,
        mode=_known(f"{path}.mode", message.mode, _MODES),
        ef_search=within(f"{path}.ef_search", message.ef_search, 0, top_k, limits.max_ef_search),
        exact=message.exact,
        filter=None if filter_message is None else read_filter(filter_message, limits),
        view=view,
    )


def rerank_options(message: rerank_pb2.RerankOptions, path: str, limits: Limits) -> RerankOptions:
    return RerankOptions(
        model=message.model,
        instruction=message.instruction,
        max_passage_tokens=message.max_passage_tokens,
        long_passage=_known(f"{path}.long_passage", message.long_passage, _LONG_PASSAGES),
        partial=_known(f"{path}.on_deadline", message.on_deadline, _PARTIAL),
        priority=_known(f"{path}.priority", message.priority, _PRIORITIES),
        min_probability=share_if_set(message, "min_probability", path),
        max_chunks=within(
            f"{path}.max_chunks",
            message.max_chunks,
            RerankOptions().max_chunks,
            1,
            limits.max_chunks,
        ),
        first_stage_weight=share_if_set(message, "first_stage_weight", path),
        path=path,
    )


def context(message: search_pb2.Context, limits: Limits, max_bytes: int) -> Context:
    return Context(
        window=within("context.window", message.window, 0, 0, limits.max_window),
        merge_share=share("context.merge_share", message.merge_share),
        max_bytes=max_bytes,
    )


def relevance_weight(request: search_pb2.SearchRequest) -> float | None:
    """Return None where no diversity is asked for."""
    if not request.HasField("diversity"):
        return None
    weight = share_if_set(request.diversity, "relevance_weight", "diversity")
    return DEFAULT_RELEVANCE_WEIGHT if weight is None else weight


def candidates(messages: Sequence[rerank_pb2.Document], limits: Limits) -> list[Candidate]:
    check_count("documents", messages, limits.max_documents)
    return [
        Candidate(
            message.text,
            message.title,
            message.first_stage_score if message.HasField("first_stage_score") else None,
        )
        for message in messages
    ]


def share_if_set(message: Message, name: str, path: str) -> float | None:
    return share(f"{path}.{name}", getattr(message, name)) if message.HasField(name) else None


def share(field: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:  # which a NaN is not
        raise InvalidArgument(field, f"is {value}; allowed 0..1")
    return value


def _known(field: str, value: int, meanings: Mapping[int, T]) -> T:
    if value not in meanings:
        raise InvalidArgument(field, f"is {value}; known are {min(meanings)}..{max(meanings)}")
    return meanings[value]
