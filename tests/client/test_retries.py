import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from finesieve.v1.models_pb2 import ListModelsResponse
from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.retrieval_pb2 import CreateCollectionResponse, UpsertPassagesResponse
from finesieve_client import AsyncClient, Client, FinesieveError, ResourceExhausted, Unavailable
from tests.client.scripted_server import Answer, ScriptedServer, refuse, retry_after


def failing(times: int, fail: Callable[[grpc.ServicerContext], Any], answer: Any) -> Answer:
    """Answer after so many failures."""
    left = [times]

    def behave(_: object, context: grpc.ServicerContext) -> Any:
        if left[0]:
            left[0] -= 1
            fail(context)
        return answer

    return behave


def unavailable(context: grpc.ServicerContext) -> None:
    refuse(context, grpc.StatusCode.UNAVAILABLE, "draining")


def overloaded(pushback_ms: int) -> Callable[[grpc.ServicerContext], None]:
    def fail(context: grpc.ServicerContext) -> None:
        refuse(
            context,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "busy",
            retry_after(pushback_ms / 1e3),
            metadata=[("grpc-retry-pushback-ms", str(pushback_ms))],
        )

    return fail


async def test_a_call_that_may_be_repeated_is_until_it_is_answered() -> None:
    answers = {"ListModels": failing(2, unavailable, ListModelsResponse())}
    with ScriptedServer(answers) as server, Client(server.target) as client:
        client.list_models()

        assert server.calls == ["ListModels"] * 3

    answers = {"ListModels": failing(2, unavailable, ListModelsResponse())}
    with ScriptedServer(answers) as server:
        async with AsyncClient(server.target) as async_client:
            await async_client.list_models()

        assert server.calls == ["ListModels"] * 3


async def test_a_large_call_is_repeated_too() -> None:
    large = [Passage(id="p1", text="x" * 3_000_000)]
    answers = {"UpsertPassages": failing(2, overloaded(1), UpsertPassagesResponse())}
    with ScriptedServer(answers) as server, Client(server.target) as client:
        client.upsert_passages("docs", large)

        assert server.calls == ["UpsertPassages"] * 3

    answers = {"UpsertPassages": failing(2, overloaded(1), UpsertPassagesResponse())}
    with ScriptedServer(answers) as server:
        async with AsyncClient(server.target) as async_client:
            await async_client.upsert_passages("docs", large)

        assert server.calls == ["UpsertPassages"] * 3


def test_the_servers_pushback_is_obeyed() -> None:
    answers = {"ListModels": failing(1, overloaded(400), ListModelsResponse())}
    with ScriptedServer(answers) as server, Client(server.target) as client:
        started = time.monotonic()

        client.list_models()

        assert server.calls == ["ListModels"] * 2
        # gRPC's own first wait is at most 0.24 s: 0.2 s and a fifth of it.
        assert time.monotonic() - started >= 0.4


def test_a_pushback_below_zero_ends_the_tries() -> None:
    answers = {"ListModels": failing(1, overloaded(-1), ListModelsResponse())}
    with ScriptedServer(answers) as server, Client(server.target) as client:
        with pytest.raises(ResourceExhausted):
            client.list_models()

        assert server.calls == ["ListModels"]


def test_four_tries_are_the_most() -> None:
    answers = {"ListModels": failing(9, overloaded(1), ListModelsResponse())}
    with ScriptedServer(answers) as server, Client(server.target) as client:
        with pytest.raises(ResourceExhausted) as raised:
            client.list_models()

        assert server.calls == ["ListModels"] * 4
        assert raised.value.retry_delay_s == 0.001


def test_a_call_that_may_not_be_repeated_is_made_once() -> None:
    answers = {"CreateCollection": failing(1, unavailable, CreateCollectionResponse())}
    with ScriptedServer(answers) as server, Client(server.target) as client:
        with pytest.raises(Unavailable):
            client.create_collection("docs")

        assert server.calls == ["CreateCollection"]


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL], ids=lambda code: code.name
)
def test_what_another_try_cannot_mend_is_not_tried_again(code: grpc.StatusCode) -> None:
    answers = {
        "ListModels": failing(1, lambda context: refuse(context, code, ""), ListModelsResponse())
    }
    with ScriptedServer(answers) as server, Client(server.target) as client:
        with pytest.raises(FinesieveError):
            client.list_models()

        assert server.calls == ["ListModels"]
