"""What every call carries: who calls, by which token; and where a token is not sent."""

import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from clients.conformance.client import Client, descriptor
from clients.conformance.conformance_pb2 import Connection
from clients.conformance.conftest import Connect, Serve
from clients.conformance.drivers import Driver, Language, environment
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
THIS_MACHINE = ["localhost:{}", "127.0.0.1:{}", "dns:///localhost:{}", "dns:///127.0.0.1:{}"]
OTHER_MACHINES = [
    "10.0.0.7:50051",
    "[2001:db8::1]:50051",
    "search.example:50051",
    "localhost.example:50051",
    "dns:///search.example:50051",
    "127.0.0.1.search.example:1",
]
# Targets that may be read as this machine, and by gRPC as another.
AMBIGUOUS = [
    "127.0.0.1@search.example:50051",
    # gRPC takes a URI's host, or its path, and drops what follows.
    "dns:///search.example:50051?/localhost:1",
    "dns:///search.example:50051#/localhost",
    "search.example:50051?/localhost",
    "search.example:50051/localhost",
    # Another machine is asked what localhost is.
    "dns://search.example/localhost:50051",
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


@pytest.mark.parametrize("form", THIS_MACHINE)
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


@pytest.mark.parametrize("target", AMBIGUOUS)
def test_a_token_does_not_go_where_a_target_may_mean_another_machine(
    connect: Connect, target: str
) -> None:
    reply = connect(target, token="secret").call(LIST_MODELS, ListModelsRequest(), timeout_ms=1_000)

    assert reply.refusal
    assert "secret" not in reply.refusal


def test_an_empty_token_is_none(connect: Connect, serve: Serve) -> None:
    with answering(serve, LIST_MODELS) as server:
        connect(server.target, token="").call(LIST_MODELS, ListModelsRequest()).assert_ok()

    reply = connect("search.example:50051", token="").call(
        LIST_MODELS, ListModelsRequest(), timeout_ms=1_000
    )

    assert "authorization" not in server.metadata[0]
    assert not reply.refusal


def test_no_proxy_stands_before_this_machine(
    driver: Driver, language: Language, serve: Serve, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, answering(serve, LIST_MODELS) as server:
        variables = behind(f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with Driver(language.folder / "driver", tmp_path / "driver.log", variables) as proxied:
            replies = [
                Client(proxied, Connection(target=form.format(server.port), token="secret")).call(
                    LIST_MODELS, ListModelsRequest(), timeout_ms=5_000
                )
                for form in THIS_MACHINE
            ]
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody came
            proxy.accept()

    for reply in replies:
        reply.assert_ok()


def behind(proxy: str) -> dict[str, str]:
    """Return an environment whose traffic goes through a proxy, all of it."""
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    proxies = {each: proxy for name in names for each in (name, name.upper())}
    others = {name: value for name, value in environment().items() if "_proxy" not in name.lower()}
    return {**others, **proxies}
