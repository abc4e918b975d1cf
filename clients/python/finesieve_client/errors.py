"""Say what went wrong with a call: one exception per gRPC status, with all the server told.

FinesieveError
├── InvalidArgument      the request is wrong; `violations` says where
├── NotFound             no such collection, model ...
├── AlreadyExists
├── FailedPrecondition   right in itself, but not for this model or collection
├── ResourceExhausted    no room now; `retry_delay_s` is set where waiting helps
├── DeadlineExceeded
├── Unavailable          not reachable, loading or draining
├── Unauthenticated
├── PermissionDenied
├── Unimplemented
├── DataLoss             the collection's store is damaged
└── Internal             the server's own fault; quote `request_id` when you report it
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from finesieve.v1.results_pb2 import Failure

DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field at fault: its path, such as "passages[3].id", and what is wrong with it."""

    field: str
    description: str


class FinesieveError(Exception):
    """A call, or one item of it, that the server did not answer as asked.

    `reason` is stable and in UPPER_SNAKE; `message` is for people; `metadata` holds the values
    that the message speaks of. The original `grpc.RpcError` is the `__cause__`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        violations: Iterable[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_delay_s: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        self.retry_delay_s = retry_delay_s
        self.request_id = request_id

    def __str__(self) -> str:
        """Return status, reason and message in one line."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.code.name}{reason}: {self.message}"


class InvalidArgument(FinesieveError):
    """The request is wrong whatever the server's state."""


class NotFound(FinesieveError):
    """What the request names does not exist."""


class AlreadyExists(FinesieveError):
    """What the request would create is there."""


class FailedPrecondition(FinesieveError):
    """Right in itself, but not for this model or this collection."""


class ResourceExhausted(FinesieveError):
    """No room: for now where `retry_delay_s` is set, else until somebody makes some."""


class DeadlineExceeded(FinesieveError):
    """The deadline came before the answer."""


class Unavailable(FinesieveError):
    """The server is not reachable, not ready yet, or no longer taking calls."""


class Unauthenticated(FinesieveError):
    """No token, or not a good one."""


class PermissionDenied(FinesieveError):
    """The token does not give this right."""


class Unimplemented(FinesieveError):
    """In the contract, not in this server."""


class DataLoss(FinesieveError):
    """The collection's store is damaged."""


class Internal(FinesieveError):
    """The server's own fault."""


KINDS: Mapping[grpc.StatusCode, type[FinesieveError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.DATA_LOSS: DataLoss,
    grpc.StatusCode.INTERNAL: Internal,
}
CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

Trailers = Iterable[tuple[str, str | bytes]]
Detail = TypeVar("Detail", bound=Message)


def error_of_call(error: grpc.RpcError) -> FinesieveError:
    """Translate what gRPC raises, from the synchronous or the asynchronous channel."""
    trailers = cast("Trailers", error.trailing_metadata() or ())
    return error_of_status(error.code(), error.details(), trailers)


def error_of_status(
    code: grpc.StatusCode, message: str | None, trailing_metadata: Trailers
) -> FinesieveError:
    """Translate the status of a call, with what its trailing metadata tells beside it."""
    # Pair by pair: grpc.aio's Metadata has keys(), which dict() would ask for, and older ones err.
    trailers = {key: value for key, value in trailing_metadata}  # noqa: C416
    status = _status(trailers.get(DETAILS_KEY, b""))
    info = _detail(status, error_details_pb2.ErrorInfo)
    retry = _detail(status, error_details_pb2.RetryInfo)
    request_id = _detail(status, error_details_pb2.RequestInfo).request_id
    return KINDS.get(code, FinesieveError)(
        message or "",
        code=code,
        reason=info.reason,
        violations=[
            Violation(violation.field, violation.description)
            for violation in _detail(status, error_details_pb2.BadRequest).field_violations
        ],
        metadata=info.metadata,
        retry_delay_s=_seconds(retry.retry_delay) if retry.HasField("retry_delay") else None,
        request_id=request_id or str(trailers.get(REQUEST_ID_KEY, "")),
    )


def error_of_failure(failure: Failure) -> FinesieveError:
    """Translate the failure of one item of a call that itself went on."""
    code = CODES.get(failure.code, grpc.StatusCode.UNKNOWN)
    return KINDS.get(code, FinesieveError)(
        failure.message,
        code=code,
        reason=failure.reason,
        violations=[Violation(failure.field, failure.message)] if failure.field else [],
        retry_delay_s=_seconds(failure.retry_delay) if failure.HasField("retry_delay") else None,
    )


def _status(trailer: str | bytes) -> status_pb2.Status:
    try:
        return status_pb2.Status.FromString(trailer if isinstance(trailer, bytes) else b"")
    except DecodeError:
        return status_pb2.Status()  # a proxy's garbage must not hide the error itself


def _detail(status: status_pb2.Status, kind: type[Detail]) -> Detail:
    """Return the status' detail of this kind, an empty one where it has none."""
    found = kind()
    for detail in status.details:
        if detail.Unpack(found):
            break
    return found


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
