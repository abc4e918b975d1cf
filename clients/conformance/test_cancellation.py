"""A caller that leaves is told CANCELLED, and the server hears of it."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.code_pb2 import CANCELLED

from clients.conformance.client import Client
from clients.conformance.conftest import Connect, Serve
from demo.server_process import ServerProcess
from finesieve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from finesieve.v1.feedback_pb2 import ExportTrainingPairsRequest, ExportTrainingPairsResponse
from finesieve.v1.models_pb2 import ListModelsRequest
from finesieve.v1.rerank_pb2 import (
    Document,
    RerankRequest,
    StreamRerankRequest,
    StreamRerankResponse,
)
from finesieve.v1.retrieval_pb2 import StreamUpsertPassagesRequest, StreamUpsertPassagesResponse
from tests.client.scripted_server import ScriptedServer
from tests.e2e.gauges import nothing_is_left_inside

HEARD_WITHIN_S = 10
CANCEL_AFTER_MS = 2_000  # by then a call is at its server, on a busy machine too


class Endless:
    """Answers a stream until its caller leaves; `left` is set once gRPC says so."""

    def __init__(self, answer: Message) -> None:
        self.left = threading.Event()
        self._answer = answer

    def __call__(self, _: object, context: grpc.ServicerContext) -> Iterator[Message]:
        context.add_callback(self.left.set)
        while context.is_active():
            yield self._answer


class Silent:
    """Answers never; `left` is set once its caller has left."""

    def __init__(self) -> None:
        self.left = threading.Event()

    def __call__(self, _: object, context: grpc.ServicerContext) -> Any:
        context.add_callback(self.left.set)
        self.left.wait()
        return None


def embed(_: object, __: grpc.ServicerContext) -> EmbedResponse:
    return EmbedResponse(tokens=3)


STREAMS = {
    "RerankService/StreamRerank": (StreamRerankRequest(), StreamRerankResponse()),
    "RetrievalService/StreamUpsertPassages": (
        StreamUpsertPassagesRequest(),
        StreamUpsertPassagesResponse(),
    ),
    "FeedbackService/ExportTrainingPairs": (
        ExportTrainingPairsRequest(),
        ExportTrainingPairsResponse(),
    ),
}


def connected(connect: Connect, server: ScriptedServer) -> Client:
    """Return a client that has its connection: to make one may take longer than a caller waits."""
    client = connect(server.target)
    client.call("EmbeddingService/Embed", EmbedRequest()).assert_ok()
    return client


def test_a_call_that_waits_can_be_cancelled(connect: Connect, serve: Serve) -> None:
    silent = Silent()
    with serve({"ListModels": silent, "Embed": embed}) as server:
        client = connected(connect, server)

        reply = client.call(
            "ModelService/ListModels", ListModelsRequest(), cancel_after_ms=CANCEL_AFTER_MS
        )

        assert reply.error.code == CANCELLED
        assert silent.left.wait(HEARD_WITHIN_S)
        assert server.calls == ["Embed", "ListModels"]


def test_the_client_of_a_cancelled_call_makes_others(connect: Connect, serve: Serve) -> None:
    with serve({"ListModels": Silent(), "Embed": embed}) as server:
        client = connected(connect, server)
        client.call("ModelService/ListModels", ListModelsRequest(), cancel_after_ms=50)

        assert client.call("EmbeddingService/Embed", EmbedRequest()).answer.tokens == 3


@pytest.mark.parametrize("method", STREAMS)
def test_a_stream_can_be_cancelled_where_it_stands(
    connect: Connect, serve: Serve, method: str
) -> None:
    request, response = STREAMS[method]
    endless = Endless(response)
    with serve({method.split("/")[1]: endless}) as server:
        reply = connect(server.target).call(method, request, cancel_after_responses=20)

        assert reply.error.code == CANCELLED
        assert reply.response_count >= 20
        assert endless.left.wait(HEARD_WITHIN_S)


@pytest.mark.parametrize("method", STREAMS)
def test_a_stream_that_waits_can_be_cancelled(connect: Connect, serve: Serve, method: str) -> None:
    request, _ = STREAMS[method]
    silent = Silent()
    with serve({method.split("/")[1]: silent, "Embed": embed}) as server:
        client = connected(connect, server)

        reply = client.call(method, request, cancel_after_ms=CANCEL_AFTER_MS)

        assert reply.error.code == CANCELLED
        assert reply.response_count == 0
        assert silent.left.wait(HEARD_WITHIN_S)


async def test_the_real_server_keeps_nothing_of_a_stream_cancelled_in_the_middle(
    client: Client, server: ServerProcess
) -> None:
    rerank = RerankRequest(query="q", documents=[Document(text="many words " * 100)] * 10)
    request = StreamRerankRequest(request_id="a", request=rerank)

    reply = client.call(
        "RerankService/StreamRerank", request, repeat=1_000_000, cancel_after_responses=3
    )

    assert reply.error.code == CANCELLED
    assert reply.response_count >= 3
    await nothing_is_left_inside(server)
