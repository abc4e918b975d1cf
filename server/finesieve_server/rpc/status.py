"""Decide how an error travels: a gRPC status with its details, or a Failure inside an answer.

And what one that came from another server of ours was there.

Which code and reason belong to which error stands in errors.py alone.
"""

from typing import TypeAlias, TypeVar, cast

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from finesieve.v1 import results_pb2
from finesieve_server.errors import (
    FinesieveError,
    InvalidArgument,
    StorageFull,
    error_of,
    status_of,
)

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

DOMAIN = "finesieve.dev"
REQUEST_ID = "x-request-id"
_DETAILS = "grpc-status-details-bin"
_Detail = TypeVar("_Detail", bound=message.Message)
CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

# Clients refuse trailers over 8 KiB, and a status travels in them twice, once percent-encoded.
MAX_MESSAGE_BYTES = 1_000
MAX_DETAIL_BYTES = 200


def code_of(error: FinesieveError) -> grpc.StatusCode:
    return CODES[status_of(error).code]


def message_of(error: FinesieveError) -> str:
    return _cut(error.message, MAX_MESSAGE_BYTES)


def trailers_of(error: FinesieveError, request_id: str) -> Metadata:
    """Return the trailing metadata that goes with the error's code and message."""
    status = status_pb2.Status(
        code=status_of(error).code,
        message=message_of(error),
        details=[_packed(detail) for detail in _details(error, request_id)],
    )
    trailers: Metadata = (
        (REQUEST_ID, request_id),
        (_DETAILS, status.SerializeToString()),
    )
    pushback_ms = _pushback_ms(error)
    if pushback_ms is not None:
        trailers += (("grpc-retry-pushback-ms", str(pushback_ms)),)
    return trailers


def failure_of(error: FinesieveError) -> results_pb2.Failure:
    """Return the same for one item of a call that goes on."""
    status = status_of(error)
    failure = results_pb2.Failure(
        code=status.code,
        reason=status.reason,
        message=message_of(error),
        field=_cut(error.field, MAX_DETAIL_BYTES),
    )
    if error.retry_after_s is not None:
        failure.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
    return failure


def error_from(error: grpc.aio.AioRpcError) -> FinesieveError | None:
    """Return what a server of ours said; None where the status is of gRPC's or another's making."""
    status = _status_in(error)
    info = _detail(status, error_details_pb2.ErrorInfo)
    if info is None or info.domain != DOMAIN:
        return None
    bad_request = _detail(status, error_details_pb2.BadRequest)
    retry = _detail(status, error_details_pb2.RetryInfo)
    return error_of(
        status.code,
        info.reason,
        status.message,
        field=bad_request.field_violations[0].field if bad_request else "",
        retry_after_s=None if retry is None else _seconds(retry.retry_delay),
        metadata=info.metadata,
    )


def error_from_failure(failure: results_pb2.Failure) -> FinesieveError:
    """Return what happened to one item of a call to a server of ours."""
    return error_of(
        failure.code,
        failure.reason,
        failure.message,
        field=failure.field,
        retry_after_s=_seconds(failure.retry_delay) if failure.HasField("retry_delay") else None,
    )


def _details(error: FinesieveError, request_id: str) -> list[message.Message]:
    details: list[message.Message] = [
        error_details_pb2.ErrorInfo(
            reason=status_of(error).reason,
            domain=DOMAIN,
            metadata={key: _cut(value, MAX_DETAIL_BYTES) for key, value in error.metadata.items()},
        ),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if isinstance(error, InvalidArgument) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(error.field, MAX_DETAIL_BYTES),
            description=_cut(error.problem, MAX_MESSAGE_BYTES),
            reason=status_of(error).reason,
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(retry)
    return details


def _pushback_ms(error: FinesieveError) -> int | None:
    if isinstance(error, StorageFull):
        return -1  # gRPC's word for: do not retry
    if error.retry_after_s is not None:
        return max(1, round(error.retry_after_s * 1e3))
    return None


def _status_in(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the status in a call's trailers, an empty one where there is none that can be read."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS:
            try:
                return status_pb2.Status.FromString(cast("bytes", value))
            except message.DecodeError:
                break
    return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    found = kind()
    return found if any(detail.Unpack(found) for detail in status.details) else None


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def _packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _cut(text: str, limit: int) -> str:
    """Return the text within `limit` bytes of UTF-8, ending in … where it was longer."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
