import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.rerank_pb2 import RerankResponse, StreamRerankRequest, StreamRerankResponse
from finesieve.v1.retrieval_pb2 import StreamUpsertPassagesRequest, StreamUpsertPassagesResponse
from finesieve_client import AsyncClient, Client, FinesieveError, NotFound, passage, rerank_request
from tests.client.scripted_server import ScriptedServer, refuse

BATCHES = [[passage("a", "one"), passage("b", "two")], [passage("c", "three")], []]


def count(
    requests: Iterator[StreamUpsertPassagesRequest], _: grpc.ServicerContext
) -> Iterator[StreamUpsertPassagesResponse]:
    for number, request in enumerate(requests):
        assert request.collection == "docs"
        yield StreamUpsertPassagesResponse(batch=number, inserted=len(request.passages))


async def test_every_batch_has_its_answer_in_order() -> None:
    with ScriptedServer({"StreamUpsertPassages": count}) as server:
        with Client(server.target) as client:
            answers = list(client.stream_upsert_passages("docs", BATCHES))
        async with AsyncClient(server.target) as async_client:
            stream = async_client.stream_upsert_passages("docs", BATCHES)
            async_answers = [answer async for answer in stream]

    assert [(answer.batch, answer.inserted) for answer in answers] == [(0, 2), (1, 1), (2, 0)]
    assert async_answers == answers


async def test_a_stream_that_replaces_documents_says_so_with_each_batch() -> None:
    def replacing(
        requests: Iterator[StreamUpsertPassagesRequest], _: grpc.ServicerContext
    ) -> Iterator[StreamUpsertPassagesResponse]:
        for request in requests:
            yield StreamUpsertPassagesResponse(removed=int(request.replace_documents))

    with ScriptedServer({"StreamUpsertPassages": replacing}) as server:
        with Client(server.target) as client:
            plain = list(client.stream_upsert_passages("docs", BATCHES))
            answers = list(client.stream_upsert_passages("docs", BATCHES, replace_documents=True))
        async with AsyncClient(server.target) as async_client:
            stream = async_client.stream_upsert_passages("docs", BATCHES, replace_documents=True)
            async_answers = [answer async for answer in stream]

    assert [answer.removed for answer in plain] == [0, 0, 0]
    assert [answer.removed for answer in answers] == [1, 1, 1]
    assert async_answers == answers


async def test_a_batch_is_sent_before_the_one_before_it_is_answered() -> None:
    def pairwise(
        requests: Iterator[StreamUpsertPassagesRequest], _: grpc.ServicerContext
    ) -> Iterator[StreamUpsertPassagesResponse]:
        for number, _first in enumerate(requests):
            next(requests)  # a client that waited for its answer would never send this one
            yield StreamUpsertPassagesResponse(batch=2 * number)
            yield StreamUpsertPassagesResponse(batch=2 * number + 1)

    batches = [[passage(str(number), "text")] for number in range(4)]
    with ScriptedServer({"StreamUpsertPassages": pairwise}) as server:
        with Client(server.target) as client:
            answers = list(client.stream_upsert_passages("docs", batches, timeout_s=20))
        async with AsyncClient(server.target) as async_client:
            stream = async_client.stream_upsert_passages("docs", batches, timeout_s=20)
            async_answers = [answer async for answer in stream]

    assert [answer.batch for answer in answers] == [0, 1, 2, 3]
    assert async_answers == answers


async def test_an_async_source_feeds_an_async_stream() -> None:
    async def source() -> AsyncIterator[list[Passage]]:
        for batch in BATCHES:
            yield batch

    with ScriptedServer({"StreamUpsertPassages": count}) as server:
        async with AsyncClient(server.target) as client:
            stream = client.stream_upsert_passages("docs", source())
            answers = [answer async for answer in stream]

    assert [answer.inserted for answer in answers] == [2, 1, 0]


async def test_what_was_sent_before_the_source_failed_is_answered_first() -> None:
    def source() -> Iterator[list[Passage]]:
        yield BATCHES[0]
        raise OSError("the disk is gone")

    answers: list[StreamUpsertPassagesResponse] = []
    with ScriptedServer({"StreamUpsertPassages": count}) as server:
        with Client(server.target) as client, pytest.raises(OSError, match="the disk is gone"):
            answers.extend(client.stream_upsert_passages("docs", source()))
        async with AsyncClient(server.target) as async_client:
            stream = async_client.stream_upsert_passages("docs", source())
            with pytest.raises(OSError, match="the disk is gone"):
                answers.extend([answer async for answer in stream])

    assert [answer.inserted for answer in answers] == [2]


@pytest.mark.parametrize("_repetition", range(20))
async def test_a_stream_that_is_refused_raises_what_the_server_said(_repetition: int) -> None:
    """Repeated, because grpc.aio alone loses the status in about every second such stream."""

    def refused(_: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        reason = error_details_pb2.ErrorInfo(reason="COLLECTION_NOT_FOUND")
        refuse(context, grpc.StatusCode.NOT_FOUND, "no collection 'docs'", reason)
        yield  # a generator, though it never gets here

    with ScriptedServer({"StreamUpsertPassages": refused}) as server:
        with Client(server.target) as client, pytest.raises(NotFound) as raised:
            list(client.stream_upsert_passages("docs", BATCHES))
        async with AsyncClient(server.target) as async_client:
            with pytest.raises(NotFound) as async_raised:
                await anext(async_client.stream_upsert_passages("docs", BATCHES))

    for error in (raised.value, async_raised.value):
        assert (error.reason, error.message) == ("COLLECTION_NOT_FOUND", "no collection 'docs'")
        assert isinstance(error.__cause__, grpc.RpcError)


async def test_a_stream_that_is_left_is_cancelled_at_the_server() -> None:
    ended = threading.Semaphore(0)

    def endless(
        requests: Iterator[StreamUpsertPassagesRequest], context: grpc.ServicerContext
    ) -> Iterator[StreamUpsertPassagesResponse]:
        context.add_callback(ended.release)
        while True:
            yield StreamUpsertPassagesResponse()

    with ScriptedServer({"StreamUpsertPassages": endless}) as server:
        with Client(server.target) as client:
            stream = client.stream_upsert_passages("docs", BATCHES)
            next(stream)
            stream.close()  # type: ignore[attr-defined]  # an Iterator that is a generator

            assert ended.acquire(timeout=10)
        async with AsyncClient(server.target) as async_client:
            async_stream = async_client.stream_upsert_passages("docs", BATCHES)
            await anext(async_stream)
            await async_stream.aclose()  # type: ignore[attr-defined]

            assert ended.acquire(timeout=10)


async def test_a_stream_that_ends_well_while_it_is_written_ends_well() -> None:
    def enough(
        requests: Iterator[StreamRerankRequest], _: grpc.ServicerContext
    ) -> Iterator[StreamRerankResponse]:
        yield StreamRerankResponse(request_id=next(requests).request_id)

    endless = itertools.repeat(("r", rerank_request("q", ["text"])))
    with ScriptedServer({"StreamRerank": enough}) as server:
        async with AsyncClient(server.target) as client:
            for _ in range(100):
                answers = [answer async for answer in client.stream_rerank(endless)]

                assert [each.request_id for each in answers] == ["r"]


async def test_a_stream_that_is_refused_while_it_is_written_ends_with_the_servers_status() -> None:
    def refusing(
        requests: Iterator[StreamRerankRequest], context: grpc.ServicerContext
    ) -> Iterator[StreamRerankResponse]:
        yield StreamRerankResponse(request_id=next(requests).request_id)
        refuse(context, grpc.StatusCode.ABORTED, "enough")

    endless = itertools.repeat(("r", rerank_request("q", ["text"])))
    codes = []
    with ScriptedServer({"StreamRerank": refusing}) as server:
        async with AsyncClient(server.target) as client:
            for _ in range(100):  # grpc.aio's own status came first in one of ten
                with pytest.raises(FinesieveError) as raised:
                    [answer async for answer in client.stream_rerank(endless)]
                codes.append(raised.value.code)

    assert codes == [grpc.StatusCode.ABORTED] * 100


async def test_reranks_come_back_under_their_own_ids() -> None:
    def backwards(
        requests: Iterator[StreamRerankRequest], _: grpc.ServicerContext
    ) -> Iterator[StreamRerankResponse]:
        for request in reversed(list(requests)):
            model = request.request.query
            yield StreamRerankResponse(
                request_id=request.request_id, response=RerankResponse(model=model)
            )

    requests = [(f"r{number}", rerank_request(f"q{number}", ["text"])) for number in range(3)]
    with ScriptedServer({"StreamRerank": backwards}) as server:
        with Client(server.target) as client:
            answers = list(client.stream_rerank(requests))
        async with AsyncClient(server.target) as async_client:
            async_answers = [answer async for answer in async_client.stream_rerank(requests)]

    assert [(each.request_id, each.response.model) for each in answers] == [
        ("r2", "q2"),
        ("r1", "q1"),
        ("r0", "q0"),
    ]
    assert async_answers == answers
