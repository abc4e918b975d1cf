import socket
import threading
from pathlib import Path

import grpc
import pytest

from finesieve.v1.models_pb2 import ListModelsResponse, Model
from finesieve_client import AsyncClient, Client, DeadlineExceeded, Tls, Unavailable
from finesieve_client.connection import Connection, is_loopback
from tests.client.scripted_server import ScriptedServer

CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = CERTIFICATES / "ca.pem"


def server_credentials(*, ask_client: bool) -> grpc.ServerCredentials:
    pair = ((CERTIFICATES / "server.key").read_bytes(), (CERTIFICATES / "server.pem").read_bytes())
    return grpc.ssl_server_credentials([pair], AUTHORITY.read_bytes(), ask_client)


def no_models(_: object, __: grpc.ServicerContext) -> ListModelsResponse:
    return ListModelsResponse()


async def test_token_and_user_agent_go_with_every_call() -> None:
    with ScriptedServer({"ListModels": no_models}) as server:
        with Client(server.target, token="secret") as client:
            client.list_models()
        async with AsyncClient(server.target, token="secret") as async_client:
            await async_client.list_models()

    for metadata in server.metadata:
        assert metadata["authorization"] == "Bearer secret"
        assert metadata["user-agent"].startswith("finesieve-python/")


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_token_does_not_leave_the_machine_in_the_clear(client: type) -> None:
    with pytest.raises(ValueError, match=r"search.example:50051 in the clear; speak TLS"):
        client("search.example:50051", token="secret")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:50051", True),
        ("[::1]:50051", True),
        ("dns:///localhost:50051", True),
        ("unix:/run/finesieve.sock", True),
        ("10.0.0.7:50051", False),
        ("localhost.example:50051", False),
        ("dns:///search.example:50051", False),
        ("[2001:db8::1]:50051", False),
        ("dns:///search.example:50051?/localhost:1", False),
        ("dns:///search.example:50051#/localhost", False),
        ("search.example:50051?/localhost", False),
        ("search.example:50051/localhost", False),
        ("ipv4:10.0.0.7:50051?/localhost", False),
        ("127.0.0.1@search.example:50051", False),
        ("127.0.0.1.search.example:1", False),
        ("dns://search.example/localhost:50051", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(target: str, expected: bool) -> None:
    assert is_loopback(target) is expected


def test_what_is_for_this_machine_goes_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer({"ListModels": no_models}) as server, socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        for name in ("no_proxy", "no_grpc_proxy", "grpc_proxy", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")

        with Client(f"localhost:{server.port}", token="secret", timeout_s=5) as client:
            client.list_models()


async def test_tls_reaches_a_server_that_the_authority_vouches_for() -> None:
    credentials = server_credentials(ask_client=False)
    tls = Tls(root_certificates=AUTHORITY)
    with ScriptedServer({"ListModels": no_models}, credentials) as server:
        with Client(server.target, tls=tls, token="secret") as client:
            client.list_models()
        async with AsyncClient(server.target, tls=tls, token="secret") as async_client:
            await async_client.list_models()

    assert [each["authorization"] for each in server.metadata] == ["Bearer secret"] * 2


def test_a_server_that_nobody_vouches_for_is_not_spoken_to() -> None:
    credentials = server_credentials(ask_client=False)
    with ScriptedServer({"ListModels": no_models}, credentials) as server:
        with Client(server.target, tls=Tls(), timeout_s=5) as client, pytest.raises(Unavailable):
            client.list_models()

        assert not server.calls


def test_a_client_proves_who_it_is_by_its_certificate() -> None:
    known = Tls(AUTHORITY, CERTIFICATES / "client.pem", CERTIFICATES / "client.key")
    with ScriptedServer({"ListModels": no_models}, server_credentials(ask_client=True)) as server:
        with Client(server.target, tls=known) as client:
            client.list_models()
        with (
            Client(server.target, tls=Tls(AUTHORITY), timeout_s=5) as stranger,
            pytest.raises(Unavailable),
        ):
            stranger.list_models()

        assert server.calls == ["ListModels"]


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="belong together"):
        Client(tls=Tls(client_certificate=CERTIFICATES / "client.pem"))


def test_the_name_in_the_certificate_may_be_another_than_the_hosts() -> None:
    with ScriptedServer({"ListModels": no_models}, server_credentials(ask_client=False)) as server:
        named = Tls(root_certificates=AUTHORITY, server_name="server.test")
        with Client(server.target, tls=named) as client:
            client.list_models()
        unknown = Tls(root_certificates=AUTHORITY, server_name="other.test")
        with (
            Client(server.target, tls=unknown, timeout_s=5) as client,
            pytest.raises(Unavailable),
        ):
            client.list_models()


async def test_a_call_has_the_clients_time_limit_or_its_own() -> None:
    remaining_s: list[float] = []

    def note(_: object, context: grpc.ServicerContext) -> ListModelsResponse:
        remaining_s.append(context.time_remaining())
        return ListModelsResponse()

    with ScriptedServer({"ListModels": note}) as server:
        with Client(server.target, timeout_s=40) as client:
            client.list_models()
            client.list_models(timeout_s=10)
        async with AsyncClient(server.target, timeout_s=40) as async_client:
            await async_client.list_models()
            await async_client.list_models(timeout_s=10)

    # gRPC rounds a time limit up on the wire, by less than two per cent.
    assert all(30 < remaining < 41 for remaining in remaining_s[::2])
    assert all(5 < remaining < 10.5 for remaining in remaining_s[1::2])


def test_a_server_that_is_too_slow_is_deadline_exceeded() -> None:
    def wait_for_the_end(_: object, context: grpc.ServicerContext) -> ListModelsResponse:
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait()
        return ListModelsResponse()

    with (
        ScriptedServer({"ListModels": wait_for_the_end}) as server,
        Client(server.target) as client,
        pytest.raises(DeadlineExceeded),
    ):
        client.list_models(timeout_s=0.05)


async def test_answers_beyond_grpcs_own_limit_are_received() -> None:
    large = ListModelsResponse(models=[Model(name="m", source="x" * 5 * 1024 * 1024)])

    with ScriptedServer({"ListModels": lambda _, __: large}) as server:
        with Client(server.target) as client:
            assert client.list_models() == large
        async with AsyncClient(server.target) as async_client:
            assert await async_client.list_models() == large


def test_the_token_is_not_shown_where_a_connection_is_printed() -> None:
    assert "secret" not in repr(Connection(token="secret"))
