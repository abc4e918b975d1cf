import asyncio
import threading
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from finesieve_client import AsyncClient, Client, DeadlineExceeded, Unimplemented
from tests.client.scripted_server import ScriptedServer

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)


class Loading(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Refuses so many watches, then does not serve until `loaded`; `watched` says it was asked."""

    def __init__(self, refusals: int = 0) -> None:
        self.watched = threading.Event()
        self.loaded = threading.Event()
        self._refusals = refusals

    def Watch(
        self, _: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        if self._refusals:
            self._refusals -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        context.add_callback(self.loaded.set)  # so that a watch that is over ends here too
        yield NOT_SERVING
        self.watched.set()
        self.loaded.wait()
        yield SERVING

    def load_once_watched(self) -> None:
        assert self.watched.wait(20)
        self.loaded.set()


def serving(servicer: Loading) -> ScriptedServer:
    server = ScriptedServer({})
    server.add(lambda real: health_pb2_grpc.add_HealthServicer_to_server(servicer, real))
    return server


def test_waiting_ends_when_the_server_serves() -> None:
    servicer = Loading()
    loading = threading.Thread(target=servicer.load_once_watched)

    with serving(servicer) as server, Client(server.target) as client:
        loading.start()
        client.wait_ready(20)

    assert servicer.watched.is_set()
    loading.join()


async def test_waiting_ends_when_the_server_serves_for_asyncio_too() -> None:
    servicer = Loading()

    with serving(servicer) as server:
        async with AsyncClient(server.target) as client:
            loaded = asyncio.create_task(asyncio.to_thread(servicer.load_once_watched))
            await client.wait_ready(20)
            await loaded


async def test_a_server_that_never_serves_ends_the_wait_in_time() -> None:
    with (
        serving(Loading()) as server,
        Client(server.target) as client,
        pytest.raises(DeadlineExceeded, match=r"not ready within 0\.3 s"),
    ):
        client.wait_ready(0.3)
    with serving(Loading()) as server:
        async with AsyncClient(server.target) as async_client:
            with pytest.raises(DeadlineExceeded, match=r"not ready within 0\.3 s"):
                await async_client.wait_ready(0.3)


async def test_a_server_that_is_not_there_ends_the_wait_in_time() -> None:
    nobody = "127.0.0.1:1"
    with Client(nobody) as client, pytest.raises(DeadlineExceeded, match=nobody):
        client.wait_ready(0.3)
    async with AsyncClient(nobody) as async_client:
        with pytest.raises(DeadlineExceeded, match=nobody):
            await async_client.wait_ready(0.3)


def test_a_server_that_refuses_for_now_is_asked_again() -> None:
    servicer = Loading(refusals=2)
    servicer.loaded.set()

    with serving(servicer) as server, Client(server.target) as client:
        client.wait_ready(20)

    assert servicer.watched.is_set()


def test_a_server_without_health_is_not_waited_for() -> None:
    with (
        ScriptedServer({}) as server,
        Client(server.target) as client,
        pytest.raises(Unimplemented),
    ):
        client.wait_ready(20)
