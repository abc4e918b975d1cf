"""An error that travelled from one server of ours to another is the same there."""

import grpc
import pytest

from finesieve_server import errors
from finesieve_server.rpc.status import (
    DOMAIN,
    code_of,
    error_from,
    error_from_failure,
    failure_of,
    message_of,
    trailers_of,
)

ERRORS = [
    errors.InvalidArgument("rerank.model", "is odd", metadata={"limit": "3"}),
    errors.EmptyField("query"),
    errors.TooLong("query", 9, 8),
    errors.BatchTooLarge("documents", 9, 8),
    errors.MalformedRequest("the 3 bytes are no message"),
    errors.ModelNotFound("x", ["a", "b"]),
    errors.FailedPrecondition("not for this model"),
    errors.Overloaded("the queue is full", retry_after_s=0.25),
    errors.DeadlineTooShort(2.0, 1.0),
    errors.Unavailable("the server is draining"),
    errors.ModelFailure("NaN"),
    errors.Internal("abc"),
]


def sent(error: errors.FinesieveError) -> grpc.aio.AioRpcError:
    trailers = grpc.aio.Metadata(*trailers_of(error, "id"))
    return grpc.aio.AioRpcError(code_of(error), grpc.aio.Metadata(), trailers, message_of(error))


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
def test_an_error_arrives_as_what_it_was(error: errors.FinesieveError) -> None:
    arrived = error_from(sent(error))

    assert type(arrived) is type(error)
    assert str(arrived.message) == error.message
    assert (arrived.field, arrived.metadata) == (error.field, error.metadata)
    assert arrived.retry_after_s == error.retry_after_s
    assert trailers_of(arrived, "id") == trailers_of(error, "id")


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
def test_the_failure_of_one_document_arrives_as_what_it_was(error: errors.FinesieveError) -> None:
    arrived = error_from_failure(failure_of(error))

    assert type(arrived) is type(error)
    assert failure_of(arrived) == failure_of(error)


def test_every_reason_stands_for_one_error() -> None:
    reasons = [status.reason for status in errors.STATUS.values()]

    assert len(set(reasons)) == len(reasons)


def test_a_reason_of_a_newer_server_is_the_plainest_error_of_its_code() -> None:
    kinds = {code: type(errors.error_of(code, "NEW", "text")) for code in (3, 4, 5, 8, 13, 14)}

    assert kinds == {
        3: errors.InvalidArgument,
        4: errors.DeadlineExceeded,
        5: errors.NotFound,
        8: errors.ResourceExhausted,
        13: errors.Internal,
        14: errors.Unavailable,
    }


@pytest.mark.parametrize("details", [None, b"", b"\xff garbage"])
def test_what_no_server_of_ours_said_is_told_apart(details: bytes | None) -> None:
    trailers = [] if details is None else [("grpc-status-details-bin", details)]
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), DOMAIN
    )

    assert error_from(error) is None


def test_a_field_can_be_named_as_another_request_calls_it() -> None:
    error = errors.TooLong("options.instruction", 9, 8)

    error.move("rerank.instruction")

    assert error.field == "rerank.instruction"
    assert error.message == "rerank.instruction has 9 characters; at most 8 are allowed"
