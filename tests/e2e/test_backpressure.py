"""One rule for every refusal for want of room: RESOURCE_EXHAUSTED, and when to come back.

A call is told by RetryInfo and by the trailer that gRPC's own retries obey, a request of a stream
by its Failure.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from demo.server_process import ServerProcess
from finesieve.v1 import (
    embedding_pb2,
    passages_pb2,
    rerank_pb2,
    results_pb2,
    retrieval_pb2,
    search_pb2,
)
from finesieve_client import AsyncClient
from tests.conftest import StartServer
from tests.e2e.gauges import metric, nothing_is_left_inside
from tests.e2e.requests import (
    BATCH,
    COLLECTION,
    CREATE,
    EMBED,
    METHODS,
    RERANK,
    RETRIEVE,
    SEARCH,
    STREAM_RERANK,
    TEXTS,
    UPSERT,
    path_of,
    rerank,
)
from tests.server.rpc.wire import Outcome, Wire, end_of

STREAM_UPSERT = "/finesieve.v1.RetrievalService/StreamUpsertPassages"
PASSAGES = [passages_pb2.Passage(id=f"p{at}", text=text) for at, text in enumerate(TEXTS)]
# Seconds of scoring.
MUCH = rerank("query", *(f"{number} many words in a row" * 10 for number in range(500)))

UNARY: dict[str, Message] = {
    RERANK: rerank("query", *TEXTS),
    SEARCH: search_pb2.SearchRequest(collection=COLLECTION, query="query"),
    EMBED: embedding_pb2.EmbedRequest(texts=TEXTS, role="TEXT_ROLE_QUERY"),
    RETRIEVE: retrieval_pb2.RetrieveRequest(collection=COLLECTION, text="query"),
    BATCH: retrieval_pb2.BatchRetrieveRequest(
        collection=COLLECTION, queries=[retrieval_pb2.RetrievalQuery(text="query")]
    ),
    UPSERT: retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=PASSAGES),
}
STREAMS: dict[str, tuple[Message, Any]] = {
    STREAM_RERANK: (
        rerank_pb2.StreamRerankRequest(request=rerank("query", *TEXTS)),
        rerank_pb2.StreamRerankResponse,
    ),
    STREAM_UPSERT: (
        retrieval_pb2.StreamUpsertPassagesRequest(collection=COLLECTION, passages=PASSAGES),
        retrieval_pb2.StreamUpsertPassagesResponse,
    ),
}


def assert_told_when_to_come_back(outcome: Outcome) -> None:
    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED, outcome
    assert outcome.reason == "OVERLOADED"
    told_ms = outcome.detail("RetryInfo").retry_delay.ToMilliseconds()
    assert told_ms >= 0
    assert int(outcome.trailers["grpc-retry-pushback-ms"]) == pytest.approx(told_ms, abs=1)
    assert int(outcome.trailers["grpc-retry-pushback-ms"]) > 0


def assert_failure_told_when_to_come_back(failure: results_pb2.Failure) -> None:
    assert failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], failure
    assert failure.reason == "OVERLOADED"
    assert failure.retry_delay.ToNanoseconds() > 0


@asynccontextmanager
async def full_queue(server: ServerProcess, wire: Wire) -> AsyncIterator[Any]:
    """Hold the queue of a server whose queue is small full with one call, which is yielded."""
    filling = wire.start(RERANK, MUCH)
    async with asyncio.timeout(30):
        while not await metric(server, "finesieve_waiting_tokens"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield filling
    filling.cancel()
    await nothing_is_left_inside(server)


async def small_queue(start_server: StartServer) -> ServerProcess:
    """Return a server with a small queue and the collection that the table asks."""
    server = start_server("--max-queue-tokens", "1000")
    async with Wire(server.address) as wire:
        create = retrieval_pb2.CreateCollectionRequest(name=COLLECTION)
        await wire.ask(CREATE, create, retrieval_pb2.CreateCollectionResponse)
        await wire.ask(UPSERT, UNARY[UPSERT], retrieval_pb2.UpsertPassagesResponse)
    return server


async def test_a_full_server_refuses_every_method_unread(start_server: StartServer) -> None:
    server = start_server("--max-calls", "1")
    async with Wire(server.address) as wire:
        inside = wire.stream(STREAM_RERANK)
        message, answer = STREAMS[STREAM_RERANK]
        await inside.write(message.SerializeToString())
        assert answer.FromString(await inside.read()).response.results
        for method in METHODS:
            # Had it been read, it would be malformed.
            outcome = await wire.call(path_of(method), b"\xff\xff\xff")

            assert_told_when_to_come_back(outcome)


async def test_a_full_queue_refuses_all_that_needs_it(start_server: StartServer) -> None:
    server = await small_queue(start_server)
    async with Wire(server.address) as wire, full_queue(server, wire):
        for path, request in UNARY.items():
            assert_told_when_to_come_back(await wire.call(path, request))
        for path, (request, answer) in STREAMS.items():
            stream = wire.stream(path)
            for _ in range(2):
                await stream.write(request.SerializeToString())
                assert_failure_told_when_to_come_back(
                    answer.FromString(await stream.read()).failure
                )
            await stream.done_writing()
            assert (await end_of(stream)).ok


def much_to_rerank(number: int) -> Message:
    return rerank(f"query {number}", *TEXTS * 15)


def much_to_embed(number: int) -> Message:
    return embedding_pb2.EmbedRequest(texts=TEXTS * 20, role="TEXT_ROLE_PASSAGE")


@pytest.mark.parametrize(
    ("path", "request_of"),
    [(RERANK, much_to_rerank), (EMBED, much_to_embed)],
    ids=["rerank", "embed"],
)
async def test_who_would_be_late_is_refused_at_once(
    wire: Wire, path: str, request_of: Callable[[int], Message]
) -> None:
    numbers = iter(range(1_000))
    refused: list[Outcome] = []
    timeout = 4.0
    # Between time for all and time for none, which differ by a factor of 24, some are refused.
    while not refused:
        timeout /= 2
        burst = [wire.call(path, request_of(next(numbers)), timeout=timeout) for _ in range(24)]
        outcomes = await asyncio.gather(*burst)
        refused = [each for each in outcomes if each.code is grpc.StatusCode.RESOURCE_EXHAUSTED]

    for outcome in refused:
        assert_told_when_to_come_back(outcome)
        assert "late" in outcome.message


async def test_the_clients_retries_wait_as_they_are_told(start_server: StartServer) -> None:
    server = await small_queue(start_server)
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.001s",  # which the server's word goes before
        "maxBackoff": "0.001s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
    options = [("grpc.service_config", json.dumps(config))]
    async with (
        Wire(server.address) as wire,
        AsyncClient(server.address) as client,
        grpc.aio.insecure_channel(server.address, options) as bare,
        full_queue(server, wire) as filling,
    ):
        unary: Any = bare.unary_unary(RERANK)
        trying = asyncio.gather(
            client.rerank("query", TEXTS), unary(rerank("query", *TEXTS).SerializeToString())
        )
        async with asyncio.timeout(30):
            while await overloaded(server) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        filling.cancel()  # they do not know
        shipped, by_policy = await trying

    assert shipped.results
    assert rerank_pb2.RerankResponse.FromString(by_policy).results
    # Either would have been refused again had it tried as soon as its own policy lets it.
    assert await overloaded(server) == 2


async def overloaded(server: ServerProcess) -> float:
    return await metric(server, "finesieve_refusals_total", reason="OVERLOADED")
