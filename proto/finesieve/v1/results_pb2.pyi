import datetime

from finesieve.v1 import passages_pb2 as _passages_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetrievalMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RETRIEVAL_MODE_UNSPECIFIED: _ClassVar[RetrievalMode]
    RETRIEVAL_MODE_DENSE: _ClassVar[RetrievalMode]
    RETRIEVAL_MODE_LEXICAL: _ClassVar[RetrievalMode]
    RETRIEVAL_MODE_HYBRID: _ClassVar[RetrievalMode]

class ScoreStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCORE_STATUS_UNSPECIFIED: _ClassVar[ScoreStatus]
    SCORE_STATUS_SCORED: _ClassVar[ScoreStatus]
    SCORE_STATUS_TRUNCATED: _ClassVar[ScoreStatus]
    SCORE_STATUS_DEADLINE: _ClassVar[ScoreStatus]
    SCORE_STATUS_FAILED: _ClassVar[ScoreStatus]
RETRIEVAL_MODE_UNSPECIFIED: RetrievalMode
RETRIEVAL_MODE_DENSE: RetrievalMode
RETRIEVAL_MODE_LEXICAL: RetrievalMode
RETRIEVAL_MODE_HYBRID: RetrievalMode
SCORE_STATUS_UNSPECIFIED: ScoreStatus
SCORE_STATUS_SCORED: ScoreStatus
SCORE_STATUS_TRUNCATED: ScoreStatus
SCORE_STATUS_DEADLINE: ScoreStatus
SCORE_STATUS_FAILED: ScoreStatus

class Failure(_message.Message):
    __slots__ = ("code", "reason", "message", "field", "retry_delay")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    field: str
    retry_delay: _duration_pb2.Duration
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RetrievalOptions(_message.Message):
    __slots__ = ("mode", "ef_search", "exact")
    MODE_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    mode: RetrievalMode
    ef_search: int
    exact: bool
    def __init__(self, mode: _Optional[_Union[RetrievalMode, str]] = ..., ef_search: _Optional[int] = ..., exact: bool = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("logit", "probability", "ordering")
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    ORDERING_FIELD_NUMBER: _ClassVar[int]
    logit: float
    probability: float
    ordering: float
    def __init__(self, logit: _Optional[float] = ..., probability: _Optional[float] = ..., ordering: _Optional[float] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("passage", "rank", "retrieval_rank", "retrieval_score", "score", "status", "best_span", "failure")
    PASSAGE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_RANK_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BEST_SPAN_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    passage: _passages_pb2.Passage
    rank: int
    retrieval_rank: int
    retrieval_score: float
    score: Score
    status: ScoreStatus
    best_span: Span
    failure: Failure
    def __init__(self, passage: _Optional[_Union[_passages_pb2.Passage, _Mapping]] = ..., rank: _Optional[int] = ..., retrieval_rank: _Optional[int] = ..., retrieval_score: _Optional[float] = ..., score: _Optional[_Union[Score, _Mapping]] = ..., status: _Optional[_Union[ScoreStatus, str]] = ..., best_span: _Optional[_Union[Span, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class StageTimings(_message.Message):
    __slots__ = ("tokenize_us", "queue_us", "embed_us", "retrieve_us", "rerank_us", "total_us")
    TOKENIZE_US_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    EMBED_US_FIELD_NUMBER: _ClassVar[int]
    RETRIEVE_US_FIELD_NUMBER: _ClassVar[int]
    RERANK_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    tokenize_us: int
    queue_us: int
    embed_us: int
    retrieve_us: int
    rerank_us: int
    total_us: int
    def __init__(self, tokenize_us: _Optional[int] = ..., queue_us: _Optional[int] = ..., embed_us: _Optional[int] = ..., retrieve_us: _Optional[int] = ..., rerank_us: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...

class RerankUsage(_message.Message):
    __slots__ = ("pairs", "tokens", "cached_pairs")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_PAIRS_FIELD_NUMBER: _ClassVar[int]
    pairs: int
    tokens: int
    cached_pairs: int
    def __init__(self, pairs: _Optional[int] = ..., tokens: _Optional[int] = ..., cached_pairs: _Optional[int] = ...) -> None: ...
