"""A client waits for a server that is not there or not ready yet, and no longer than it is told."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Timer

import grpc
from google.rpc.code_pb2 import DEADLINE_EXCEEDED, UNIMPLEMENTED
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clients.conformance.client import Client
from clients.conformance.conftest import Connect, Serve
from tests.client.scripted_server import ScriptedServer

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
STARTS_AFTER_S = 1.0


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Refuses so many watches as if draining, then tells NOT_SERVING, then, in time, SERVING."""

    def __init__(self, refusals: int = 0, serves_after_s: float = 0.0) -> None:
        self.metadata: dict[str, str] = {}
        self._refusals = refusals
        self._serves_after_s = serves_after_s

    def Watch(  # noqa: N802
        self, _: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        if self._refusals:
            self._refusals -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        yield NOT_SERVING
        serves_at = time.monotonic() + self._serves_after_s
        while context.is_active() and time.monotonic() < serves_at:
            time.sleep(0.02)
        yield SERVING


def telling(health: Health, server: ScriptedServer) -> ScriptedServer:
    server.add(lambda real: health_pb2_grpc.add_HealthServicer_to_server(health, real))
    return server


def test_a_server_that_serves_is_ready_at_once(client: Client) -> None:
    client.wait_ready(timeout_ms=20_000).assert_ok()


def test_waiting_ends_when_a_loading_server_serves(connect: Connect, serve: Serve) -> None:
    with telling(Health(serves_after_s=STARTS_AFTER_S), serve({})) as server:
        started = time.monotonic()

        connect(server.target).wait_ready(timeout_ms=30_000).assert_ok()

        assert time.monotonic() - started >= STARTS_AFTER_S


def test_waiting_outlasts_the_deadline_of_calls(connect: Connect, serve: Serve) -> None:
    with telling(Health(serves_after_s=2.5), serve({})) as server:
        connect(server.target, timeout_ms=1_000).wait_ready(timeout_ms=20_000).assert_ok()


def test_waiting_outlasts_a_server_that_drains(connect: Connect, serve: Serve) -> None:
    with telling(Health(refusals=2), serve({})) as server:
        connect(server.target).wait_ready(timeout_ms=30_000).assert_ok()


def test_waiting_ends_when_a_server_starts_where_nobody_listened(
    connect: Connect, serve: Serve
) -> None:
    with serve({}) as gone:
        pass
    with ExitStack() as running:

        def start() -> None:
            running.enter_context(telling(Health(), ScriptedServer({}, port=gone.port)))

        starting = Timer(STARTS_AFTER_S, start)
        starting.start()

        connect(gone.target).wait_ready(timeout_ms=50_000).assert_ok()

        starting.join()


def test_waiting_where_nobody_listens_ends_in_time(connect: Connect, serve: Serve) -> None:
    with serve({}) as gone:
        pass
    started = time.monotonic()

    error = connect(gone.target).wait_ready(timeout_ms=1_000).error

    assert error.code == DEADLINE_EXCEEDED
    assert gone.target in error.message
    assert 0.9 < time.monotonic() - started < 10


def test_waiting_for_a_server_that_never_serves_ends_in_time(
    connect: Connect, serve: Serve
) -> None:
    with telling(Health(serves_after_s=60), serve({})) as server:
        started = time.monotonic()

        error = connect(server.target).wait_ready(timeout_ms=1_000).error

    assert error.code == DEADLINE_EXCEEDED
    assert 0.9 < time.monotonic() - started < 10


def test_a_server_that_tells_no_health_is_not_waited_for(connect: Connect, serve: Serve) -> None:
    with serve({}) as server:
        error = connect(server.target).wait_ready(timeout_ms=30_000).error

    assert error.code == UNIMPLEMENTED


def test_waiting_says_who_waits(connect: Connect, serve: Serve) -> None:
    health = Health()
    with telling(health, serve({})) as server:
        connect(server.target, token="secret").wait_ready(timeout_ms=30_000).assert_ok()

    assert health.metadata["authorization"] == "Bearer secret"
