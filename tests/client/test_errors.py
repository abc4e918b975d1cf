import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from finesieve.v1.results_pb2 import Failure
from finesieve_client import (
    AsyncClient,
    Client,
    FinesieveError,
    InvalidArgument,
    ResourceExhausted,
    Violation,
    error_of_failure,
)
from finesieve_client.errors import KINDS
from tests.client.scripted_server import (
    Answer,
    ScriptedServer,
    field_violation,
    refuse,
    retry_after,
)


def ask(target: str) -> FinesieveError:
    with Client(target) as client, pytest.raises(FinesieveError) as raised:
        client.create_collection("docs")
    return raised.value


async def ask_async(target: str) -> FinesieveError:
    async with AsyncClient(target) as client:
        with pytest.raises(FinesieveError) as raised:
            await client.create_collection("docs")
    return raised.value


def refusing(code: grpc.StatusCode, *details: Message, **trailers: str) -> dict[str, Answer]:
    metadata = [(name.replace("_", "-"), value) for name, value in trailers.items()]
    return {
        "CreateCollection": lambda _, context: refuse(
            context, code, "what is wrong", *details, metadata=metadata
        )
    }


@pytest.mark.parametrize("code", KINDS, ids=lambda code: code.name)
async def test_every_status_is_its_own_error_from_both_clients(code: grpc.StatusCode) -> None:
    with ScriptedServer(refusing(code)) as server:
        errors = [ask(server.target), await ask_async(server.target)]

    for error in errors:
        assert type(error) is KINDS[code]
        assert error.code is code
        assert error.message == "what is wrong"
        assert isinstance(error.__cause__, grpc.RpcError)


async def test_an_error_carries_all_that_the_server_told() -> None:
    info = error_details_pb2.ErrorInfo(
        reason="TOO_LONG", domain="finesieve.dev", metadata={"limit": "8192"}
    )
    request = error_details_pb2.RequestInfo(request_id="r-17")
    answers = refusing(
        grpc.StatusCode.INVALID_ARGUMENT,
        info,
        field_violation("passages[3].text", "has 9000 characters"),
        retry_after(1.5),
        request,
    )

    with ScriptedServer(answers) as server:
        errors = [ask(server.target), await ask_async(server.target)]

    for error in errors:
        assert error.reason == "TOO_LONG"
        assert error.metadata == {"limit": "8192"}
        assert error.violations == (Violation("passages[3].text", "has 9000 characters"),)
        assert error.retry_delay_s == 1.5
        assert error.request_id == "r-17"
        assert str(error) == "INVALID_ARGUMENT (TOO_LONG): what is wrong"


def test_the_request_id_is_read_from_the_trailers_where_no_detail_has_it() -> None:
    with ScriptedServer(refusing(grpc.StatusCode.INTERNAL, x_request_id="r-18")) as server:
        assert ask(server.target).request_id == "r-18"


def test_an_error_without_details_says_what_there_is() -> None:
    def plain(_: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "no collection 'docs'")

    with ScriptedServer({"CreateCollection": plain}) as server:
        error = ask(server.target)

    assert str(error) == "NOT_FOUND: no collection 'docs'"
    assert (error.reason, error.violations, error.retry_delay_s) == ("", (), None)


def test_details_that_are_garbage_do_not_hide_the_error() -> None:
    def garbled(_: object, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no collection 'docs'")

    with ScriptedServer({"CreateCollection": garbled}) as server:
        assert str(ask(server.target)) == "NOT_FOUND: no collection 'docs'"


def test_a_method_that_the_server_lacks_is_unimplemented() -> None:
    with ScriptedServer({}) as server:
        assert ask(server.target).code is grpc.StatusCode.UNIMPLEMENTED


def test_the_failure_of_one_item_is_the_same_kind_of_error() -> None:
    refused = error_of_failure(
        Failure(code=3, reason="EMPTY_FIELD", message="is empty", field="passages[0].id")
    )
    overloaded = error_of_failure(
        Failure(
            code=8, reason="OVERLOADED", message="busy", retry_delay=Duration(nanos=250_000_000)
        )
    )

    assert isinstance(refused, InvalidArgument)
    assert refused.violations == (Violation("passages[0].id", "is empty"),)
    assert refused.retry_delay_s is None
    assert isinstance(overloaded, ResourceExhausted)
    assert overloaded.retry_delay_s == 0.25
