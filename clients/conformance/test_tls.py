"""TLS: who the server is, who the client is, and files that are not there."""

from pathlib import Path

import grpc
import pytest
from google.rpc.code_pb2 import UNAVAILABLE

from clients.conformance.client import Client
from clients.conformance.conftest import Connect, Serve
from finesieve.v1.models_pb2 import ListModelsRequest, ListModelsResponse
from tests.client.scripted_server import ScriptedServer

CERTIFICATES = Path(__file__).parents[2] / "tests/client/certificates"
AUTHORITY = str(CERTIFICATES / "ca.pem")
CLIENT_CERTIFICATE = str(CERTIFICATES / "client.pem")
CLIENT_KEY = str(CERTIFICATES / "client.key")
IDENTITY = {"client_certificate": CLIENT_CERTIFICATE, "client_key": CLIENT_KEY}
LIST_MODELS = "ModelService/ListModels"


def tls_server(serve: Serve, *, asks_client: bool = False) -> ScriptedServer:
    """Return a server that the authority vouches for, as server.test, localhost and 127.0.0.1."""
    pair = ((CERTIFICATES / "server.key").read_bytes(), (CERTIFICATES / "server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], Path(AUTHORITY).read_bytes(), asks_client)
    return serve({"ListModels": lambda _, __: ListModelsResponse()}, credentials)


def assert_answered(client: Client) -> None:
    client.call(LIST_MODELS, ListModelsRequest()).assert_ok()


def assert_unreachable(client: Client) -> None:
    assert (
        client.call(LIST_MODELS, ListModelsRequest(), timeout_ms=10_000).error.code == UNAVAILABLE
    )


def test_a_server_that_the_authority_vouches_for_is_spoken_to(
    connect: Connect, serve: Serve
) -> None:
    with tls_server(serve) as server:
        assert_answered(connect(server.target, root_certificates=AUTHORITY))

        assert server.calls == ["ListModels"]


def test_a_server_that_nobody_vouches_for_is_not(connect: Connect, serve: Serve) -> None:
    with tls_server(serve) as server:
        assert_unreachable(connect(server.target, tls=True))

        assert not server.calls


def test_a_client_shows_its_certificate(connect: Connect, serve: Serve) -> None:
    with tls_server(serve, asks_client=True) as server:
        assert_answered(connect(server.target, root_certificates=AUTHORITY, **IDENTITY))

        assert server.calls == ["ListModels"]


def test_a_client_without_the_certificate_that_the_server_asks_for_is_turned_away(
    connect: Connect,
    serve: Serve,
) -> None:
    with tls_server(serve, asks_client=True) as server:
        assert_unreachable(connect(server.target, root_certificates=AUTHORITY))

        assert not server.calls


def test_the_server_may_have_another_name_than_its_host(connect: Connect, serve: Serve) -> None:
    with tls_server(serve) as server:
        named = {"root_certificates": AUTHORITY, "server_name": "server.test"}
        assert_answered(connect(server.target, **named))

        assert server.calls == ["ListModels"]


def test_a_server_of_the_wrong_name_is_not_spoken_to(connect: Connect, serve: Serve) -> None:
    with tls_server(serve) as server:
        named = {"root_certificates": AUTHORITY, "server_name": "other.test"}
        assert_unreachable(connect(server.target, **named))

        assert not server.calls


def test_a_token_goes_over_tls(connect: Connect, serve: Serve) -> None:
    with tls_server(serve) as server:
        assert_answered(connect(server.target, root_certificates=AUTHORITY, token="secret"))

    assert server.metadata[0]["authorization"] == "Bearer secret"


def test_a_client_that_speaks_no_tls_does_not_reach_a_server_that_does(
    connect: Connect, serve: Serve
) -> None:
    with tls_server(serve) as server:
        assert_unreachable(connect(server.target))

        assert not server.calls


@pytest.mark.parametrize("missing", ["root_certificates", "client_certificate", "client_key"])
def test_a_file_that_is_not_there_is_named_before_any_call(connect: Connect, missing: str) -> None:
    files = {"root_certificates": AUTHORITY, **IDENTITY, missing: "/nowhere/missing.pem"}

    reply = connect("127.0.0.1:1", **files).call(LIST_MODELS, ListModelsRequest())

    assert "missing.pem" in reply.refusal


@pytest.mark.parametrize("half", IDENTITY)
def test_half_of_a_client_certificate_is_refused(connect: Connect, half: str) -> None:
    files = {"root_certificates": AUTHORITY, half: IDENTITY[half]}

    reply = connect("127.0.0.1:1", **files).call(LIST_MODELS, ListModelsRequest())

    # Each language writes the names in its own way, such as clientKey.
    assert "certificate" in reply.refusal.lower()
    assert "key" in reply.refusal.lower()
    assert "belong together" in reply.refusal
