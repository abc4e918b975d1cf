from finesieve.v1 import passages_pb2 as _passages_pb2
from finesieve.v1 import rerank_pb2 as _rerank_pb2
from finesieve.v1 import results_pb2 as _results_pb2
from finesieve.v1 import retrieval_pb2 as _retrieval_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchRequest(_message.Message):
    __slots__ = ("collection", "query", "retrieve_k", "top_n", "filter", "retrieval", "rerank", "skip_rerank", "context", "diversity", "retrieval_queries", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    RETRIEVE_K_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    SKIP_RERANK_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_QUERIES_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    query: str
    retrieve_k: int
    top_n: int
    filter: _passages_pb2.Filter
    retrieval: _results_pb2.RetrievalOptions
    rerank: _rerank_pb2.RerankOptions
    skip_rerank: bool
    context: Context
    diversity: Diversity
    retrieval_queries: _containers.RepeatedCompositeFieldContainer[_retrieval_pb2.RetrievalQuery]
    view: _passages_pb2.PassageView
    def __init__(self, collection: _Optional[str] = ..., query: _Optional[str] = ..., retrieve_k: _Optional[int] = ..., top_n: _Optional[int] = ..., filter: _Optional[_Union[_passages_pb2.Filter, _Mapping]] = ..., retrieval: _Optional[_Union[_results_pb2.RetrievalOptions, _Mapping]] = ..., rerank: _Optional[_Union[_rerank_pb2.RerankOptions, _Mapping]] = ..., skip_rerank: bool = ..., context: _Optional[_Union[Context, _Mapping]] = ..., diversity: _Optional[_Union[Diversity, _Mapping]] = ..., retrieval_queries: _Optional[_Iterable[_Union[_retrieval_pb2.RetrievalQuery, _Mapping]]] = ..., view: _Optional[_Union[_passages_pb2.PassageView, str]] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("window", "merge_share")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MERGE_SHARE_FIELD_NUMBER: _ClassVar[int]
    window: int
    merge_share: float
    def __init__(self, window: _Optional[int] = ..., merge_share: _Optional[float] = ...) -> None: ...

class Diversity(_message.Message):
    __slots__ = ("relevance_weight",)
    RELEVANCE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    relevance_weight: float
    def __init__(self, relevance_weight: _Optional[float] = ...) -> None: ...

class SearchHit(_message.Message):
    __slots__ = ("hit", "before", "after", "merged_ids")
    HIT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    MERGED_IDS_FIELD_NUMBER: _ClassVar[int]
    hit: _results_pb2.Hit
    before: _containers.RepeatedCompositeFieldContainer[_passages_pb2.Passage]
    after: _containers.RepeatedCompositeFieldContainer[_passages_pb2.Passage]
    merged_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hit: _Optional[_Union[_results_pb2.Hit, _Mapping]] = ..., before: _Optional[_Iterable[_Union[_passages_pb2.Passage, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[_passages_pb2.Passage, _Mapping]]] = ..., merged_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "partial", "timings", "usage", "search_id", "query_truncated")
    HITS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SEARCH_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[SearchHit]
    partial: bool
    timings: _results_pb2.StageTimings
    usage: _results_pb2.RerankUsage
    search_id: str
    query_truncated: bool
    def __init__(self, hits: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., partial: bool = ..., timings: _Optional[_Union[_results_pb2.StageTimings, _Mapping]] = ..., usage: _Optional[_Union[_results_pb2.RerankUsage, _Mapping]] = ..., search_id: _Optional[str] = ..., query_truncated: bool = ...) -> None: ...
