"""A call has the client's deadline or its own; a stream has none but its own."""

import threading
import time
from typing import Any

import grpc
import pytest
from google.rpc.code_pb2 import DEADLINE_EXCEEDED

from clients.conformance.conftest import Connect, Serve
from finesieve.v1.models_pb2 import ListModelsRequest, ListModelsResponse
from finesieve.v1.rerank_pb2 import StreamRerankRequest
from tests.client.scripted_server import Answer

# gRPC rounds a deadline up on the wire, by less than two per cent; the way takes some of it.
LEAST, MOST = 0.8, 1.03
A_YEAR_S = 365 * 24 * 3600


def noting(remaining_s: list[float], answer: Any) -> Answer:
    """Note how long the caller will wait: without a deadline, for ages."""

    def note(_: object, context: grpc.ServicerContext) -> Any:
        remaining_s.append(context.time_remaining())
        return answer

    return note


def never(_: object, context: grpc.ServicerContext) -> None:
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait()


@pytest.mark.parametrize(
    ("of_client_ms", "of_call_ms", "expected_s"),
    [(0, None, 30), (50_000, None, 50), (0, 10_000, 10), (50_000, 10_000, 10)],
)
def test_a_call_has_30_seconds_or_what_the_client_or_the_call_says(
    connect: Connect, serve: Serve, of_client_ms: int, of_call_ms: int | None, expected_s: float
) -> None:
    remaining_s: list[float] = []
    how = {} if of_call_ms is None else {"timeout_ms": of_call_ms}
    with serve({"ListModels": noting(remaining_s, ListModelsResponse())}) as server:
        client = connect(server.target, timeout_ms=of_client_ms)

        client.call("ModelService/ListModels", ListModelsRequest(), **how).assert_ok()

    (remaining,) = remaining_s
    assert LEAST * expected_s < remaining < MOST * expected_s


def test_a_stream_has_no_deadline_but_its_own(connect: Connect, serve: Serve) -> None:
    remaining_s: list[float] = []
    with serve({"StreamRerank": noting(remaining_s, iter(()))}) as server:
        client = connect(server.target, timeout_ms=50_000)

        client.call("RerankService/StreamRerank", StreamRerankRequest()).assert_ok()
        client.call(
            "RerankService/StreamRerank", StreamRerankRequest(), timeout_ms=20_000
        ).assert_ok()

    unlimited, limited = remaining_s
    assert unlimited > A_YEAR_S
    assert LEAST * 20 < limited < MOST * 20


@pytest.mark.parametrize("method", ["ModelService/ListModels", "RerankService/StreamRerank"])
def test_a_server_that_is_too_slow_is_deadline_exceeded(
    connect: Connect, serve: Serve, method: str
) -> None:
    request = ListModelsRequest() if method.endswith("ListModels") else StreamRerankRequest()
    with serve({method.split("/")[1]: never}) as server:
        client = connect(server.target)
        started = time.monotonic()

        error = client.call(method, request, timeout_ms=2_000).error

        assert error.code == DEADLINE_EXCEEDED
        assert 1.8 < time.monotonic() - started < 10
        assert len(server.calls) == 1
