from finesieve.v1 import results_pb2 as _results_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LongPassage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LONG_PASSAGE_UNSPECIFIED: _ClassVar[LongPassage]
    LONG_PASSAGE_TRUNCATE: _ClassVar[LongPassage]
    LONG_PASSAGE_CHUNK: _ClassVar[LongPassage]
    LONG_PASSAGE_FAIL: _ClassVar[LongPassage]

class OnDeadline(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_DEADLINE_UNSPECIFIED: _ClassVar[OnDeadline]
    ON_DEADLINE_FAIL: _ClassVar[OnDeadline]
    ON_DEADLINE_PARTIAL: _ClassVar[OnDeadline]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BULK: _ClassVar[Priority]
LONG_PASSAGE_UNSPECIFIED: LongPassage
LONG_PASSAGE_TRUNCATE: LongPassage
LONG_PASSAGE_CHUNK: LongPassage
LONG_PASSAGE_FAIL: LongPassage
ON_DEADLINE_UNSPECIFIED: OnDeadline
ON_DEADLINE_FAIL: OnDeadline
ON_DEADLINE_PARTIAL: OnDeadline
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BULK: Priority

class RerankOptions(_message.Message):
    __slots__ = ("model", "max_passage_tokens", "long_passage", "on_deadline", "priority", "min_probability", "instruction", "max_chunks", "first_stage_weight")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_PASSAGE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LONG_PASSAGE_FIELD_NUMBER: _ClassVar[int]
    ON_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    FIRST_STAGE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    model: str
    max_passage_tokens: int
    long_passage: LongPassage
    on_deadline: OnDeadline
    priority: Priority
    min_probability: float
    instruction: str
    max_chunks: int
    first_stage_weight: float
    def __init__(self, model: _Optional[str] = ..., max_passage_tokens: _Optional[int] = ..., long_passage: _Optional[_Union[LongPassage, str]] = ..., on_deadline: _Optional[_Union[OnDeadline, str]] = ..., priority: _Optional[_Union[Priority, str]] = ..., min_probability: _Optional[float] = ..., instruction: _Optional[str] = ..., max_chunks: _Optional[int] = ..., first_stage_weight: _Optional[float] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("id", "text", "title", "first_stage_score")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    FIRST_STAGE_SCORE_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    title: str
    first_stage_score: float
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., title: _Optional[str] = ..., first_stage_score: _Optional[float] = ...) -> None: ...

class RerankRequest(_message.Message):
    __slots__ = ("query", "documents", "top_n", "options", "return_documents")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    RETURN_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    query: str
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    top_n: int
    options: RerankOptions
    return_documents: bool
    def __init__(self, query: _Optional[str] = ..., documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ..., top_n: _Optional[int] = ..., options: _Optional[_Union[RerankOptions, _Mapping]] = ..., return_documents: bool = ...) -> None: ...

class RerankResult(_message.Message):
    __slots__ = ("index", "id", "score", "status", "best_span", "failure", "document")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BEST_SPAN_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    index: int
    id: str
    score: _results_pb2.Score
    status: _results_pb2.ScoreStatus
    best_span: _results_pb2.Span
    failure: _results_pb2.Failure
    document: Document
    def __init__(self, index: _Optional[int] = ..., id: _Optional[str] = ..., score: _Optional[_Union[_results_pb2.Score, _Mapping]] = ..., status: _Optional[_Union[_results_pb2.ScoreStatus, str]] = ..., best_span: _Optional[_Union[_results_pb2.Span, _Mapping]] = ..., failure: _Optional[_Union[_results_pb2.Failure, _Mapping]] = ..., document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class RerankResponse(_message.Message):
    __slots__ = ("results", "model", "partial", "timings", "usage", "query_truncated", "own_first_stage_weight")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    QUERY_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    OWN_FIRST_STAGE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RerankResult]
    model: str
    partial: bool
    timings: _results_pb2.StageTimings
    usage: _results_pb2.RerankUsage
    query_truncated: bool
    own_first_stage_weight: float
    def __init__(self, results: _Optional[_Iterable[_Union[RerankResult, _Mapping]]] = ..., model: _Optional[str] = ..., partial: bool = ..., timings: _Optional[_Union[_results_pb2.StageTimings, _Mapping]] = ..., usage: _Optional[_Union[_results_pb2.RerankUsage, _Mapping]] = ..., query_truncated: bool = ..., own_first_stage_weight: _Optional[float] = ...) -> None: ...

class StreamRerankRequest(_message.Message):
    __slots__ = ("request_id", "request")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    request: RerankRequest
    def __init__(self, request_id: _Optional[str] = ..., request: _Optional[_Union[RerankRequest, _Mapping]] = ...) -> None: ...

class StreamRerankResponse(_message.Message):
    __slots__ = ("request_id", "response", "failure")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    response: RerankResponse
    failure: _results_pb2.Failure
    def __init__(self, request_id: _Optional[str] = ..., response: _Optional[_Union[RerankResponse, _Mapping]] = ..., failure: _Optional[_Union[_results_pb2.Failure, _Mapping]] = ...) -> None: ...
