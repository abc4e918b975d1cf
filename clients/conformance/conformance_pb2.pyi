from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Connection(_message.Message):
    __slots__ = ("target", "root_certificates", "client_certificate", "client_key", "server_name", "tls", "token", "timeout_ms")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ROOT_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    target: str
    root_certificates: str
    client_certificate: str
    client_key: str
    server_name: str
    tls: bool
    token: str
    timeout_ms: int
    def __init__(self, target: _Optional[str] = ..., root_certificates: _Optional[str] = ..., client_certificate: _Optional[str] = ..., client_key: _Optional[str] = ..., server_name: _Optional[str] = ..., tls: bool = ..., token: _Optional[str] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("name", "connection", "call", "wait_ready", "prompt")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    WAIT_READY_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    name: str
    connection: Connection
    call: Call
    wait_ready: WaitReady
    prompt: Prompt
    def __init__(self, name: _Optional[str] = ..., connection: _Optional[_Union[Connection, _Mapping]] = ..., call: _Optional[_Union[Call, _Mapping]] = ..., wait_ready: _Optional[_Union[WaitReady, _Mapping]] = ..., prompt: _Optional[_Union[Prompt, _Mapping]] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("method", "requests", "repeat", "timeout_ms", "cancel_after_ms", "cancel_after_responses")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_AFTER_RESPONSES_FIELD_NUMBER: _ClassVar[int]
    method: str
    requests: _containers.RepeatedScalarFieldContainer[bytes]
    repeat: int
    timeout_ms: int
    cancel_after_ms: int
    cancel_after_responses: int
    def __init__(self, method: _Optional[str] = ..., requests: _Optional[_Iterable[bytes]] = ..., repeat: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., cancel_after_ms: _Optional[int] = ..., cancel_after_responses: _Optional[int] = ...) -> None: ...

class WaitReady(_message.Message):
    __slots__ = ("timeout_ms",)
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    def __init__(self, timeout_ms: _Optional[int] = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("question", "search_response", "answer")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    SEARCH_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    question: str
    search_response: bytes
    answer: str
    def __init__(self, question: _Optional[str] = ..., search_response: _Optional[bytes] = ..., answer: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("responses", "response_count", "error", "refusal", "prompt", "cited_ids")
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CITED_IDS_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedScalarFieldContainer[bytes]
    response_count: int
    error: Error
    refusal: str
    prompt: str
    cited_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, responses: _Optional[_Iterable[bytes]] = ..., response_count: _Optional[int] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., refusal: _Optional[str] = ..., prompt: _Optional[str] = ..., cited_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "reason", "metadata", "violations", "retry_delay_s", "request_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_S_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    reason: str
    metadata: _containers.ScalarMap[str, str]
    violations: _containers.RepeatedCompositeFieldContainer[Violation]
    retry_delay_s: float
    request_id: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., reason: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., violations: _Optional[_Iterable[_Union[Violation, _Mapping]]] = ..., retry_delay_s: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class Violation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...
