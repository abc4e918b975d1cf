"""What every call carries: who calls, by which token; and where a token is not sent."""

from importlib.metadata import version
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from clients.conformance.client import descriptor
from clients.conformance.conftest import Connect, Serve
from clients.conformance.drivers import Language
from finesieve.v1.models_pb2 import ListModelsRequest, ListModelsResponse
from tests.client.scripted_server import ScriptedServer

VERSION = version("finesieve")  # all clients are released with the server
LIST_MODELS = "ModelService/ListModels"
# One of each kind: a call, streams both ways, a stream of answers.
KINDS = [
    LIST_MODELS,
    "RerankService/StreamRerank",
    "RetrievalService/StreamUpsertPassages",
    "FeedbackService/ExportTrainingPairs",
]
OTHER_MACHINES = [
    "10.0.0.7:50051",
    "[2001:db8::1]:50051",
    "search.example:50051",
    "localhost.example:50051",
    "dns:///search.example:50051",
]


def answering(serve: Serve, method: str) -> ScriptedServer:
    """Return a server that answers a method with one empty message, or none where it streams."""
    kind = descriptor(method)
    empty: Any = () if kind.server_streaming else GetMessageClass(kind.output_type)()
    return serve({kind.name: lambda _, __: iter(empty) if kind.server_streaming else empty})


@pytest.mark.parametrize("method", KINDS)
def test_every_call_says_in_which_language_it_was_made(
    connect: Connect, serve: Serve, language: Language, method: str
) -> None:
    request = GetMessageClass(descriptor(method).input_type)()
    with answering(serve, method) as server:
        connect(server.target).call(method, request).assert_ok()

    (metadata,) = server.metadata
    assert metadata["user-agent"].startswith(f"finesieve-{language.name}/{VERSION}")
    assert "authorization" not in metadata


@pytest.mark.parametrize("method", KINDS)
def test_a_token_goes_with_every_call(connect: Connect, serve: Serve, method: str) -> None:
    request = GetMessageClass(descriptor(method).input_type)()
    with answering(serve, method) as server:
        connect(server.target, token="secret").call(method, request).assert_ok()

    (metadata,) = server.metadata
    assert metadata["authorization"] == "Bearer secret"


@pytest.mark.parametrize("form", ["localhost:{}", "dns:///localhost:{}", "dns:///127.0.0.1:{}"])
def test_this_machine_is_known_by_its_other_names(
    connect: Connect, serve: Serve, form: str
) -> None:
    with answering(serve, LIST_MODELS) as server:
        client = connect(form.format(server.port), token="secret")

        assert client.call(LIST_MODELS, ListModelsRequest()).answer == ListModelsResponse()


@pytest.mark.parametrize("target", OTHER_MACHINES)
def test_a_token_does_not_leave_the_machine_in_the_clear(connect: Connect, target: str) -> None:
    reply = connect(target, token="secret").call(LIST_MODELS, ListModelsRequest(), timeout_ms=1_000)

    assert "TLS" in reply.refusal
    assert "secret" not in reply.refusal
