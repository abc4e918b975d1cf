from finesieve.v1 import passages_pb2 as _passages_pb2
from finesieve.v1 import results_pb2 as _results_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "embedding_model", "dimension", "distance", "hnsw", "caller_embeds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    HNSW_FIELD_NUMBER: _ClassVar[int]
    CALLER_EMBEDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    embedding_model: str
    dimension: int
    distance: _passages_pb2.Distance
    hnsw: _passages_pb2.HnswOptions
    caller_embeds: bool
    def __init__(self, name: _Optional[str] = ..., embedding_model: _Optional[str] = ..., dimension: _Optional[int] = ..., distance: _Optional[_Union[_passages_pb2.Distance, str]] = ..., hnsw: _Optional[_Union[_passages_pb2.HnswOptions, _Mapping]] = ..., caller_embeds: bool = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: _passages_pb2.Collection
    def __init__(self, collection: _Optional[_Union[_passages_pb2.Collection, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: _passages_pb2.Collection
    def __init__(self, collection: _Optional[_Union[_passages_pb2.Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections", "next_page_token")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[_passages_pb2.Collection]
    next_page_token: str
    def __init__(self, collections: _Optional[_Iterable[_Union[_passages_pb2.Collection, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpsertPassagesRequest(_message.Message):
    __slots__ = ("collection", "passages", "replace_documents")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    REPLACE_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    passages: _containers.RepeatedCompositeFieldContainer[_passages_pb2.Passage]
    replace_documents: bool
    def __init__(self, collection: _Optional[str] = ..., passages: _Optional[_Iterable[_Union[_passages_pb2.Passage, _Mapping]]] = ..., replace_documents: bool = ...) -> None: ...

class UpsertPassagesResponse(_message.Message):
    __slots__ = ("inserted", "updated", "removed")
    INSERTED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    inserted: int
    updated: int
    removed: int
    def __init__(self, inserted: _Optional[int] = ..., updated: _Optional[int] = ..., removed: _Optional[int] = ...) -> None: ...

class StreamUpsertPassagesRequest(_message.Message):
    __slots__ = ("collection", "passages", "replace_documents")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    REPLACE_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    passages: _containers.RepeatedCompositeFieldContainer[_passages_pb2.Passage]
    replace_documents: bool
    def __init__(self, collection: _Optional[str] = ..., passages: _Optional[_Iterable[_Union[_passages_pb2.Passage, _Mapping]]] = ..., replace_documents: bool = ...) -> None: ...

class StreamUpsertPassagesResponse(_message.Message):
    __slots__ = ("batch", "inserted", "updated", "failure", "removed")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    INSERTED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    batch: int
    inserted: int
    updated: int
    failure: _results_pb2.Failure
    removed: int
    def __init__(self, batch: _Optional[int] = ..., inserted: _Optional[int] = ..., updated: _Optional[int] = ..., failure: _Optional[_Union[_results_pb2.Failure, _Mapping]] = ..., removed: _Optional[int] = ...) -> None: ...

class DeletePassagesRequest(_message.Message):
    __slots__ = ("collection", "ids", "filter")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    filter: _passages_pb2.Filter
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[_passages_pb2.Filter, _Mapping]] = ...) -> None: ...

class DeletePassagesResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...

class GetPassagesRequest(_message.Message):
    __slots__ = ("collection", "ids", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    view: _passages_pb2.PassageView
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[_passages_pb2.PassageView, str]] = ...) -> None: ...

class GetPassagesResponse(_message.Message):
    __slots__ = ("passages", "missing_ids")
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    MISSING_IDS_FIELD_NUMBER: _ClassVar[int]
    passages: _containers.RepeatedCompositeFieldContainer[_passages_pb2.Passage]
    missing_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, passages: _Optional[_Iterable[_Union[_passages_pb2.Passage, _Mapping]]] = ..., missing_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListPassagesRequest(_message.Message):
    __slots__ = ("collection", "filter", "page_size", "page_token", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    filter: _passages_pb2.Filter
    page_size: int
    page_token: str
    view: _passages_pb2.PassageView
    def __init__(self, collection: _Optional[str] = ..., filter: _Optional[_Union[_passages_pb2.Filter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[_passages_pb2.PassageView, str]] = ...) -> None: ...

class ListPassagesResponse(_message.Message):
    __slots__ = ("passages", "next_page_token")
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    passages: _containers.RepeatedCompositeFieldContainer[_passages_pb2.Passage]
    next_page_token: str
    def __init__(self, passages: _Optional[_Iterable[_Union[_passages_pb2.Passage, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetrieveRequest(_message.Message):
    __slots__ = ("collection", "text", "embedding", "top_k", "filter", "options", "view", "words")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    text: str
    embedding: _passages_pb2.Embedding
    top_k: int
    filter: _passages_pb2.Filter
    options: _results_pb2.RetrievalOptions
    view: _passages_pb2.PassageView
    words: str
    def __init__(self, collection: _Optional[str] = ..., text: _Optional[str] = ..., embedding: _Optional[_Union[_passages_pb2.Embedding, _Mapping]] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[_passages_pb2.Filter, _Mapping]] = ..., options: _Optional[_Union[_results_pb2.RetrievalOptions, _Mapping]] = ..., view: _Optional[_Union[_passages_pb2.PassageView, str]] = ..., words: _Optional[str] = ...) -> None: ...

class RetrieveResponse(_message.Message):
    __slots__ = ("hits", "timings")
    HITS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_results_pb2.Hit]
    timings: _results_pb2.StageTimings
    def __init__(self, hits: _Optional[_Iterable[_Union[_results_pb2.Hit, _Mapping]]] = ..., timings: _Optional[_Union[_results_pb2.StageTimings, _Mapping]] = ...) -> None: ...

class RetrievalQuery(_message.Message):
    __slots__ = ("text", "embedding", "words")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    text: str
    embedding: _passages_pb2.Embedding
    words: str
    def __init__(self, text: _Optional[str] = ..., embedding: _Optional[_Union[_passages_pb2.Embedding, _Mapping]] = ..., words: _Optional[str] = ...) -> None: ...

class BatchRetrieveRequest(_message.Message):
    __slots__ = ("collection", "queries", "top_k", "filter", "options", "view")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    collection: str
    queries: _containers.RepeatedCompositeFieldContainer[RetrievalQuery]
    top_k: int
    filter: _passages_pb2.Filter
    options: _results_pb2.RetrievalOptions
    view: _passages_pb2.PassageView
    def __init__(self, collection: _Optional[str] = ..., queries: _Optional[_Iterable[_Union[RetrievalQuery, _Mapping]]] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[_passages_pb2.Filter, _Mapping]] = ..., options: _Optional[_Union[_results_pb2.RetrievalOptions, _Mapping]] = ..., view: _Optional[_Union[_passages_pb2.PassageView, str]] = ...) -> None: ...

class HitList(_message.Message):
    __slots__ = ("hits",)
    HITS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[_results_pb2.Hit]
    def __init__(self, hits: _Optional[_Iterable[_Union[_results_pb2.Hit, _Mapping]]] = ...) -> None: ...

class BatchRetrieveResponse(_message.Message):
    __slots__ = ("results", "timings")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[HitList]
    timings: _results_pb2.StageTimings
    def __init__(self, results: _Optional[_Iterable[_Union[HitList, _Mapping]]] = ..., timings: _Optional[_Union[_results_pb2.StageTimings, _Mapping]] = ...) -> None: ...
