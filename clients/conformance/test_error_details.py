"""What a scripted server says of an error reaches the caller whole, whatever the status."""

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, DebugInfo, ErrorInfo, RequestInfo

from clients.conformance.client import Reply
from clients.conformance.conftest import Connect, Serve
from finesieve.v1.feedback_pb2 import ExportTrainingPairsRequest
from finesieve.v1.retrieval_pb2 import CreateCollectionRequest, StreamUpsertPassagesRequest
from tests.client.scripted_server import Answer, refuse, retry_after

ERRORS = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
INFO = ErrorInfo(
    reason="STORE_DAMAGED", domain="finesieve.dev", metadata={"collection": "docs", "pages": "3"}
)
BAD_REQUEST = BadRequest(
    field_violations=[
        BadRequest.FieldViolation(field="passages[0].id", description="is empty"),
        BadRequest.FieldViolation(field="passages[7].text", description="has 70000 characters"),
    ]
)
REQUEST_INFO = RequestInfo(request_id="6f1c", serving_data="ignored")
# A method that is not tried again, whatever the status.
METHOD = "RetrievalService/CreateCollection"
REQUEST = CreateCollectionRequest(name="docs")


def refusing(code: grpc.StatusCode, message: str, *details: Message, **trailers: str) -> Answer:
    metadata = [(name.replace("_", "-"), value) for name, value in trailers.items()]
    return lambda _, context: refuse(context, code, message, *details, metadata=metadata)


def call(connect: Connect, serve: Serve, answer: Answer) -> Reply:
    with serve({"CreateCollection": answer}) as server:
        return connect(server.target).call(METHOD, REQUEST)


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: code.name)
def test_every_status_keeps_its_details(
    connect: Connect, serve: Serve, code: grpc.StatusCode
) -> None:
    answer = refusing(code, "why", DebugInfo(), INFO, REQUEST_INFO, BAD_REQUEST, retry_after(1.25))

    error = call(connect, serve, answer).error

    assert (error.code, error.message, error.reason) == (code.value[0], "why", INFO.reason)
    assert dict(error.metadata) == dict(INFO.metadata)
    assert [(each.field, each.description) for each in error.violations] == [
        (each.field, each.description) for each in BAD_REQUEST.field_violations
    ]
    assert error.retry_delay_s == 1.25
    assert error.request_id == "6f1c"


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: code.name)
def test_a_status_without_details_is_told_without(
    connect: Connect, serve: Serve, code: grpc.StatusCode
) -> None:
    error = call(connect, serve, lambda _, context: context.abort(code, "why")).error

    assert (error.code, error.message, error.reason) == (code.value[0], "why", "")
    assert not error.metadata
    assert not error.violations
    assert not error.HasField("retry_delay_s")
    assert error.request_id == ""


def test_a_request_id_may_come_in_the_trailers_alone(connect: Connect, serve: Serve) -> None:
    answer = refusing(grpc.StatusCode.INTERNAL, "why", x_request_id="6f1c")

    assert call(connect, serve, answer).error.request_id == "6f1c"


def test_a_message_may_be_in_any_script(connect: Connect, serve: Serve) -> None:
    message = "quá tải – 混雑 – خطأ – 100 % 🚧"

    assert call(connect, serve, refusing(grpc.StatusCode.ABORTED, message)).error.message == message


def test_garbage_in_place_of_details_does_not_hide_the_error(
    connect: Connect, serve: Serve
) -> None:
    def answer(_: object, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff garbage"),))
        context.abort(grpc.StatusCode.DATA_LOSS, "why")

    error = call(connect, serve, answer).error

    assert (error.code, error.message, error.reason) == (15, "why", "")


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RetrievalService/StreamUpsertPassages", StreamUpsertPassagesRequest(collection="docs")),
        ("FeedbackService/ExportTrainingPairs", ExportTrainingPairsRequest(collection="docs")),
    ],
)
def test_a_stream_ends_with_the_same_details(
    connect: Connect, serve: Serve, method: str, request_: Message
) -> None:
    answer = refusing(grpc.StatusCode.PERMISSION_DENIED, "why", INFO, REQUEST_INFO)

    with serve({method.split("/")[1]: answer}) as server:
        error = connect(server.target).call(method, request_).error

    assert (error.code, error.message, error.reason) == (7, "why", INFO.reason)
    assert dict(error.metadata) == dict(INFO.metadata)
    assert error.request_id == "6f1c"
