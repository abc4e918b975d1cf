import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from finesieve.v1 import models_pb2
from finesieve_server.errors import Unavailable
from finesieve_server.index.catalog import Catalog
from finesieve_server.rpc.serving import Serving, Tls
from tests.server.rpc.parts import serving_over
from tests.server.rpc.wire import Wire, end_of

HEALTH = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LIST_MODELS = "/finesieve.v1.ModelService/ListModels"
SERVICES = {
    "finesieve.v1.RetrievalService",
    "finesieve.v1.RerankService",
    "finesieve.v1.SearchService",
    "finesieve.v1.EmbeddingService",
    "finesieve.v1.ModelService",
}
CERTIFICATES = Path(__file__).parent / "certificates"

Start = Callable[..., Awaitable[tuple[Serving, int]]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Yield a function that starts servers over one empty catalog, not ready yet."""
    catalog = await Catalog.open(tmp_path)
    started: list[Serving] = []

    async def start_one(**options: Any) -> tuple[Serving, int]:
        serving = serving_over(catalog, **options)
        port = await serving.start()
        started.append(serving)
        return serving, port

    yield start_one
    for serving in started:
        await serving.stop()
    await catalog.close()


async def health_of(wire: Wire, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return int((await wire.ask(HEALTH, request, health_pb2.HealthCheckResponse)).status)


async def test_health_says_not_serving_until_ready_and_again_while_draining(start: Start) -> None:
    serving, port = await start()
    status = health_pb2.HealthCheckResponse

    async with Wire(f"127.0.0.1:{port}") as wire:
        loading = {await health_of(wire, each) for each in ("", *SERVICES)}
        refused = await wire.call(LIST_MODELS, b"")
        await serving.set_ready()
        ready = {await health_of(wire, each) for each in ("", *SERVICES)}
        watch = wire.stream(WATCH)
        await watch.write(health_pb2.HealthCheckRequest().SerializeToString())
        await watch.read()
        draining = asyncio.create_task(serving.drain(5))
        told = status.FromString(await watch.read())
        await draining

    assert loading == {status.NOT_SERVING}
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert ready == {status.SERVING}
    assert told.status == status.NOT_SERVING


async def test_a_drained_server_goes_on_refusing_until_it_is_stopped(start: Start) -> None:
    serving, port = await start()
    await serving.set_ready()

    async with Wire(f"127.0.0.1:{port}") as wire:
        await wire.call(LIST_MODELS, b"")
        await serving.drain(5)
        drained = await wire.call(LIST_MODELS, b"")
        await serving.stop()
        stopped = await wire.call(LIST_MODELS, b"")

    assert (drained.code, drained.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert (stopped.code, stopped.reason) == (grpc.StatusCode.UNAVAILABLE, "")


async def test_health_of_a_service_that_is_not_served_is_not_found(start: Start) -> None:
    _, port = await start()

    async with Wire(f"127.0.0.1:{port}") as wire:
        outcome = await wire.call(
            HEALTH, health_pb2.HealthCheckRequest(service="finesieve.v1.FeedbackService")
        )

    assert outcome.code is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_what_is_served_and_describes_it(start: Start) -> None:
    _, port = await start()

    async with Wire(f"127.0.0.1:{port}") as wire:
        stream = wire.stream(REFLECTION)
        asked = reflection_pb2.ServerReflectionRequest
        await stream.write(asked(list_services="").SerializeToString())
        listed = reflection_pb2.ServerReflectionResponse.FromString(await stream.read())
        await stream.write(
            asked(file_containing_symbol="finesieve.v1.SearchRequest").SerializeToString()
        )
        described = reflection_pb2.ServerReflectionResponse.FromString(await stream.read())
        await stream.done_writing()
        ended = await end_of(stream)

    names = {service.name for service in listed.list_services_response.service}
    assert names >= SERVICES | {"grpc.health.v1.Health"}
    assert described.file_descriptor_response.file_descriptor_proto
    assert ended.ok


@pytest.mark.parametrize("path", [HEALTH, WATCH, REFLECTION])
async def test_bytes_that_are_no_probe_are_malformed(start: Start, path: str) -> None:
    _, port = await start()

    async with Wire(f"127.0.0.1:{port}") as wire:
        stream = wire.stream(path)
        await stream.write(b"\xff\xff\xff")
        await stream.done_writing()
        ended = await end_of(stream)

    assert (ended.code, ended.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MALFORMED_REQUEST",
    )


async def test_two_servers_on_one_port_are_refused_with_the_address(start: Start) -> None:
    _, port = await start()

    with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{port}"):
        await start(port=port)


async def test_a_host_of_another_machine_is_refused(start: Start) -> None:
    with pytest.raises(Unavailable, match=r"192\.0\.2\.1"):
        await start(host="192.0.2.1")


def field(name: bytes, value: bytes) -> bytes:
    """Return an HPACK literal: neither indexed nor Huffman-coded."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def send_call(port: int, path: bytes, *more: tuple[bytes, bytes]) -> None:
    """Call a path as no gRPC library would, and wait until the server says anything about it."""
    headers = b"".join(
        field(name, value)
        for name, value in [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"x"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *more,
        ]
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, b"")
            + frame(1, 4, 1, headers)
            + frame(0, 1, 1, bytes(5))
        )
        connection.settimeout(1)
        try:
            while received := connection.recv(4096):
                if b":status" in received or b"grpc-status" in received:
                    return
        except OSError:  # the server may also say nothing, or go away
            return


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (b"/finesieve\xff.v1/x\xfe", ()),
        (b"", ()),
        (LIST_MODELS.encode(), ((b"x-request-id", b"\xff\xfe"),)),
        (LIST_MODELS.encode(), ((b"grpc-timeout", b"-1S"),)),
        (LIST_MODELS.encode(), ((b"grpc-timeout", b"99999999H"),)),
        (LIST_MODELS.encode(), ((b"grpc-encoding", b"nonsense"),)),
    ],
    ids=["path of no text", "no path", "request id", "timeout", "long timeout", "encoding"],
)
async def test_no_headers_end_the_server(
    start: Start, path: bytes, more: tuple[tuple[bytes, bytes], ...]
) -> None:
    serving, port = await start()
    await serving.set_ready()

    for _ in range(2):
        await asyncio.to_thread(send_call, port, path, *more)
        async with Wire(f"127.0.0.1:{port}") as wire:
            await wire.ask(
                LIST_MODELS,
                models_pb2.ListModelsRequest(),
                models_pb2.ListModelsResponse,
                wait_for_ready=True,
                timeout=20,
            )


async def test_tls_serves_who_trusts_the_certificate(start: Start) -> None:
    serving, port = await start(tls=tls())
    await serving.set_ready()

    credentials = grpc.ssl_channel_credentials(pem("authority.pem"))
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        list_models: Any = channel.unary_unary(LIST_MODELS)
        assert await list_models(b"") == b""


async def test_clients_need_a_certificate_where_an_authority_is_set(start: Start) -> None:
    serving, port = await start(tls=tls(client_ca=pem("authority.pem")))
    await serving.set_ready()

    async def ask(**certificate: bytes) -> bytes:
        credentials = grpc.ssl_channel_credentials(pem("authority.pem"), **certificate)
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            list_models: Any = channel.unary_unary(LIST_MODELS)
            answer: bytes = await list_models(b"", timeout=5)
            return answer

    with_one = await ask(private_key=pem("client.key"), certificate_chain=pem("client.pem"))
    with pytest.raises(grpc.aio.AioRpcError):
        await ask()

    assert with_one == b""


async def test_a_key_that_does_not_fit_is_refused_at_start(start: Start) -> None:
    with pytest.raises(Unavailable, match="certificate and key"):
        await start(tls=Tls(certificate=b"no PEM", key=b"no PEM"))


def tls(client_ca: bytes | None = None) -> Tls:
    return Tls(certificate=pem("server.pem"), key=pem("server.key"), client_ca=client_ca)


def pem(name: str) -> bytes:
    return (CERTIFICATES / name).read_bytes()
