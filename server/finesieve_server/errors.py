"""Say what can go wrong, without knowing any transport.

Every error that a caller may see is one of these; one table gives each its status and reason.

    FinesieveError
    ├── InvalidArgument            the request is wrong; `field` says where
    │   ├── EmptyField
    │   ├── TooLong
    │   ├── BatchTooLarge
    │   ├── DuplicateId
    │   ├── BadPageToken
    │   └── MalformedRequest
    ├── NotFound
    │   ├── CollectionNotFound
    │   └── ModelNotFound
    ├── AlreadyExists
    ├── FailedPrecondition         right in itself, but not for this model or collection
    ├── ResourceExhausted
    │   ├── AnswerTooLarge         the answer would not fit into one message
    │   ├── Overloaded             try again after `retry_after_s`
    │   └── StorageFull            trying again does not help
    ├── DeadlineExceeded
    │   └── DeadlineTooShort       not even an idle server could have kept it
    ├── Unavailable                loading or draining
    ├── Unimplemented              in the contract, not in this server
    ├── DataLoss                   a collection's store is damaged
    ├── ModelFailure               a model gave nothing usable
    └── Internal                   a bug of ours
"""

from collections.abc import Mapping
from dataclasses import dataclass


class FinesieveError(Exception):
    """Something a caller is told, in words that say what was seen and what is allowed."""

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.metadata = dict(metadata or {})


class InvalidArgument(FinesieveError):
    """The request is wrong whatever the server's state; the text reads on from the field."""

    def __init__(
        self, field: str, problem: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{field} {problem}".strip(), field=field, metadata=metadata)

    @property
    def problem(self) -> str:
        return self.message.removeprefix(self.field).lstrip()

    def move(self, field: str) -> None:
        """Let the error name the field as it is called in another request."""
        self.message = f"{field} {self.problem}"
        self.field = field
        self.args = (self.message,)


class EmptyField(InvalidArgument):
    """A field that must hold something is empty or only white space."""

    def __init__(self, field: str, problem: str = "is empty") -> None:
        super().__init__(field, problem)


class TooLong(InvalidArgument):
    """A text has more characters, or tokens, than may be taken."""

    def __init__(self, field: str, length: int, limit: int, unit: str = "characters") -> None:
        super().__init__(
            field,
            f"has {length} {unit}; at most {limit} are allowed",
            metadata={"limit": str(limit)},
        )


class BatchTooLarge(InvalidArgument):
    """A list has more elements than the server takes."""

    def __init__(self, field: str, count: int, limit: int) -> None:
        super().__init__(
            field,
            f"has {count} elements; at most {limit} are allowed",
            metadata={"limit": str(limit)},
        )


class DuplicateId(InvalidArgument):
    """One id stands twice in a request that must name each once."""


class BadPageToken(InvalidArgument):
    """A page token that this server did not give for these parameters."""

    def __init__(self) -> None:
        super().__init__(
            "page_token", "was not given for this request; start again without a page token"
        )


class MalformedRequest(InvalidArgument):
    """The bytes are not the message that the method takes."""

    def __init__(self, problem: str) -> None:
        super().__init__("", problem)


class NotFound(FinesieveError):
    """What the request names does not exist."""


class CollectionNotFound(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"no collection {name!r}", metadata={"collection": name})


class ModelNotFound(NotFound):
    def __init__(self, name: str, available: list[str]) -> None:
        known = ", ".join(available) or "none"
        super().__init__(f"no model {name!r}; available: {known}", metadata={"model": name})


class AlreadyExists(FinesieveError):
    """What the request would create is there."""


class FailedPrecondition(FinesieveError):
    """Right in itself, but not for this model or this collection."""


class ResourceExhausted(FinesieveError):
    """No room for this request."""


class AnswerTooLarge(ResourceExhausted):
    """The answer would be larger than what clients of other languages take by default."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the answer has at least {size} bytes, at most {limit} are sent; "
            "ask for fewer elements or, of passages, for PASSAGE_VIEW_ID",
            metadata={"limit": str(limit)},
        )


class Overloaded(ResourceExhausted):
    """The server has more work than it can do in time; `retry_after_s` is its estimate."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class StorageFull(ResourceExhausted):
    """The disk takes no more; trying again does not help until somebody makes room."""


class DeadlineExceeded(FinesieveError):
    """The caller's deadline came first."""


class DeadlineTooShort(DeadlineExceeded):
    """Not even an idle server could keep this deadline."""

    def __init__(self, estimate_s: float, remaining_s: float) -> None:
        super().__init__(
            f"the work takes an estimated {estimate_s * 1e3:.0f} ms on an idle server, "
            f"the deadline leaves {max(0.0, remaining_s) * 1e3:.0f} ms",
            metadata={"estimate_ms": f"{estimate_s * 1e3:.0f}"},
        )


class Unavailable(FinesieveError):
    """Not ready yet, or no longer taking calls."""


class Unimplemented(FinesieveError):
    """In the contract, not in this server; `field` names what was asked."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is not implemented by this server", field=field)


class DataLoss(FinesieveError):
    """A collection's store is damaged."""


class ModelFailure(FinesieveError):
    """A model gave nothing usable for this input."""


class Internal(FinesieveError):
    """A bug of ours. The caller gets a number to quote; what happened is in the log."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"internal error; quote request id {request_id}")


@dataclass(frozen=True, slots=True)
class Status:
    """How an error travels: google.rpc.Code, HTTP status, and ErrorInfo's reason."""

    code: int
    http: int
    reason: str


STATUS: Mapping[type[FinesieveError], Status] = {
    InvalidArgument: Status(3, 400, "INVALID_FIELD"),
    EmptyField: Status(3, 400, "EMPTY_FIELD"),
    TooLong: Status(3, 400, "TOO_LONG"),
    BatchTooLarge: Status(3, 400, "BATCH_TOO_LARGE"),
    DuplicateId: Status(3, 400, "DUPLICATE_ID"),
    BadPageToken: Status(3, 400, "BAD_PAGE_TOKEN"),
    MalformedRequest: Status(3, 400, "MALFORMED_REQUEST"),
    NotFound: Status(5, 404, "NOT_FOUND"),
    CollectionNotFound: Status(5, 404, "COLLECTION_NOT_FOUND"),
    ModelNotFound: Status(5, 404, "MODEL_NOT_FOUND"),
    AlreadyExists: Status(6, 409, "ALREADY_EXISTS"),
    FailedPrecondition: Status(9, 412, "FAILED_PRECONDITION"),
    ResourceExhausted: Status(8, 429, "RESOURCE_EXHAUSTED"),
    AnswerTooLarge: Status(8, 429, "ANSWER_TOO_LARGE"),
    Overloaded: Status(8, 429, "OVERLOADED"),
    StorageFull: Status(8, 507, "STORAGE_FULL"),
    DeadlineExceeded: Status(4, 504, "DEADLINE_EXCEEDED"),
    DeadlineTooShort: Status(4, 504, "DEADLINE_TOO_SHORT"),
    Unavailable: Status(14, 503, "UNAVAILABLE"),
    Unimplemented: Status(12, 501, "UNIMPLEMENTED"),
    DataLoss: Status(15, 500, "DATA_LOSS"),
    Internal: Status(13, 500, "INTERNAL"),
    ModelFailure: Status(13, 500, "MODEL_FAILURE"),
}


def status_of(error: FinesieveError) -> Status:
    """Return the status of an error: its own row, or that of its nearest ancestor."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_of(
    code: int,
    reason: str,
    message: str,
    *,
    field: str = "",
    retry_after_s: float | None = None,
    metadata: Mapping[str, str] | None = None,
) -> FinesieveError:
    """Return the error that another server of ours met: the table, read backwards.

    A reason that is not in it, of a newer server, becomes the plainest error of its code.
    """
    by_reason = (kind for kind, status in STATUS.items() if status.reason == reason)
    by_code = (kind for kind, status in STATUS.items() if status.code == code)
    kind = next(by_reason, None) or next(by_code, FinesieveError)
    error = kind.__new__(kind)  # what its own __init__ would say is said already
    FinesieveError.__init__(
        error, message, field=field, retry_after_s=retry_after_s, metadata=metadata
    )
    return error
