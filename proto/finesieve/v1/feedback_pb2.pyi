from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeedbackSignal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_SIGNAL_UNSPECIFIED: _ClassVar[FeedbackSignal]
    FEEDBACK_SIGNAL_CLICKED: _ClassVar[FeedbackSignal]
    FEEDBACK_SIGNAL_CITED: _ClassVar[FeedbackSignal]
    FEEDBACK_SIGNAL_UPVOTED: _ClassVar[FeedbackSignal]
    FEEDBACK_SIGNAL_DOWNVOTED: _ClassVar[FeedbackSignal]
FEEDBACK_SIGNAL_UNSPECIFIED: FeedbackSignal
FEEDBACK_SIGNAL_CLICKED: FeedbackSignal
FEEDBACK_SIGNAL_CITED: FeedbackSignal
FEEDBACK_SIGNAL_UPVOTED: FeedbackSignal
FEEDBACK_SIGNAL_DOWNVOTED: FeedbackSignal

class RecordFeedbackRequest(_message.Message):
    __slots__ = ("search_id", "passage_id", "signal")
    SEARCH_ID_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    search_id: str
    passage_id: str
    signal: FeedbackSignal
    def __init__(self, search_id: _Optional[str] = ..., passage_id: _Optional[str] = ..., signal: _Optional[_Union[FeedbackSignal, str]] = ...) -> None: ...

class RecordFeedbackResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExportTrainingPairsRequest(_message.Message):
    __slots__ = ("collection", "negatives")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    negatives: int
    def __init__(self, collection: _Optional[str] = ..., negatives: _Optional[int] = ...) -> None: ...

class ExportTrainingPairsResponse(_message.Message):
    __slots__ = ("query", "positives", "negatives")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    query: str
    positives: _containers.RepeatedScalarFieldContainer[str]
    negatives: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, query: _Optional[str] = ..., positives: _Optional[_Iterable[str]] = ..., negatives: _Optional[_Iterable[str]] = ...) -> None: ...
