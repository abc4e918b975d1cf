"""A long stream of one-document reranks: every one is answered, and the client's memory stays."""

import time
from collections.abc import Callable

import pytest

from clients.conformance.client import Client
from clients.conformance.memory import MIB, Memory
from demo.server_process import ServerProcess
from finesieve.v1.rerank_pb2 import Document, RerankRequest, StreamRerankRequest
from finesieve.v1.results_pb2 import SCORE_STATUS_SCORED
from tests.e2e.gauges import metric

GROWTH_LIMIT_BYTES = 8 * MIB
LEAST_PER_S = 50  # which any machine does
REQUESTS = [
    StreamRerankRequest(
        request_id=str(number),
        request=RerankRequest(query="q", documents=[Document(text=f"document {number}")]),
    )
    for number in range(20)
]


async def test_a_long_stream_is_answered_without_a_leak(
    client: Client,
    server: ServerProcess,
    pytestconfig: pytest.Config,
    report: Callable[[str], None],
) -> None:
    repeat = pytestconfig.getoption("--stream") // len(REQUESTS)
    count = repeat * len(REQUESTS)
    client.call("RerankService/StreamRerank", *REQUESTS, repeat=5).assert_ok()  # warms it up
    scored = await pairs_scored(server)

    started = time.monotonic()
    with Memory(client.driver) as memory:
        reply = client.call(
            "RerankService/StreamRerank", *REQUESTS, repeat=repeat, limit_s=count / LEAST_PER_S
        )

    seconds = time.monotonic() - started
    report(
        f"{count} reranks in {seconds:.0f} s; {client.driver.resident_bytes() / MIB:.0f} MiB, "
        f"{memory.growth() / MIB:+.1f} over the last half"
    )
    reply.assert_ok()
    assert reply.response_count == count
    assert all(each.response.results[0].status == SCORE_STATUS_SCORED for each in reply.responses)
    assert await pairs_scored(server) - scored == count
    assert memory.growth() < GROWTH_LIMIT_BYTES


async def pairs_scored(server: ServerProcess) -> float:
    """Return how many pairs the server has scored, by its model or from its cache."""
    hits = await metric(server, "finesieve_score_cache_hits_total")
    return hits + await metric(server, "finesieve_score_cache_misses_total")
