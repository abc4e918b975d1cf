"""Streams go both ways at the same time, under flow control, and end as the server says."""

import time
from collections.abc import Iterator

import grpc
import pytest
from google.rpc.code_pb2 import ABORTED, DEADLINE_EXCEEDED, INVALID_ARGUMENT

from clients.conformance.client import Client
from clients.conformance.conftest import Connect, Serve
from clients.conformance.memory import MIB, Memory
from demo.server_process import ServerProcess
from finesieve.v1.feedback_pb2 import ExportTrainingPairsRequest, ExportTrainingPairsResponse
from finesieve.v1.passages_pb2 import Embedding, Passage
from finesieve.v1.rerank_pb2 import (
    Document,
    RerankRequest,
    RerankResponse,
    StreamRerankRequest,
    StreamRerankResponse,
)
from finesieve.v1.retrieval_pb2 import StreamUpsertPassagesRequest
from finesieve_client import Client as PythonClient
from tests.client.scripted_server import refuse

RERANK = "RerankService/StreamRerank"
UPSERT = "RetrievalService/StreamUpsertPassages"
# HTTP/2's first window, which a sender may fill before anybody reads.
WINDOW_BYTES = 65_535
KIB = 1024

Requests = Iterator[StreamRerankRequest]
Answers = Iterator[StreamRerankResponse]


@pytest.fixture
def bulk(server: ServerProcess) -> Iterator[str]:
    """Yield the name of an empty collection whose callers embed."""
    with PythonClient(server.address) as python:
        python.create_collection("bulk", caller_embeds=True, dimension=2)
        yield "bulk"
        python.delete_collection("bulk")


def batch(*names: str, text: str = "a text") -> StreamUpsertPassagesRequest:
    embedding = Embedding(values=[1, 0])
    passages = [Passage(id=name, text=text, embedding=embedding) for name in names]
    return StreamUpsertPassagesRequest(collection="bulk", passages=passages)


def rerank(name: str, *texts: str, query: str = "q") -> StreamRerankRequest:
    documents = [Document(text=text) for text in texts]
    return StreamRerankRequest(
        request_id=name, request=RerankRequest(query=query, documents=documents)
    )


def test_far_more_goes_both_ways_than_a_window_holds(connect: Connect, serve: Serve) -> None:
    large = "x" * (2 * WINDOW_BYTES)

    def echo(requests: Requests, _: grpc.ServicerContext) -> Answers:
        for number, request in enumerate(requests):
            assert request.request.query == large
            yield StreamRerankResponse(
                request_id=str(number), response=RerankResponse(model=request.request.query)
            )

    with serve({"StreamRerank": echo}) as server:
        reply = connect(server.target).call(RERANK, rerank("a", query=large), repeat=200)

    reply.assert_ok()
    assert reply.response_count == 200
    assert [each.request_id for each in reply.responses] == [str(n) for n in range(184, 200)]
    assert all(each.response.model == large for each in reply.responses)


def test_a_request_is_sent_before_the_one_before_it_is_answered(
    connect: Connect, serve: Serve
) -> None:
    def pairwise(requests: Requests, _: grpc.ServicerContext) -> Answers:
        for first in requests:
            second = next(requests)  # whoever waits for the first one's answer never sends this
            yield StreamRerankResponse(request_id=first.request_id)
            yield StreamRerankResponse(request_id=second.request_id)

    with serve({"StreamRerank": pairwise}) as server:
        reply = connect(server.target).call(
            RERANK, rerank("a"), rerank("b"), rerank("c"), rerank("d"), timeout_ms=20_000
        )

    reply.assert_ok()
    assert [each.request_id for each in reply.responses] == ["a", "b", "c", "d"]


def test_an_answer_comes_while_requests_are_still_sent(connect: Connect, serve: Serve) -> None:
    def one_then_silence(requests: Requests, context: grpc.ServicerContext) -> Answers:
        yield StreamRerankResponse(request_id=next(requests).request_id)
        for _ in requests:
            pass

    with serve({"StreamRerank": one_then_silence}) as server:
        reply = connect(server.target).call(
            RERANK, rerank("a"), repeat=100_000_000, cancel_after_responses=1
        )

    assert reply.response_count == 1


def test_requests_that_nobody_reads_do_not_pile_up(connect: Connect, serve: Serve) -> None:
    def read_nothing(_: Requests, context: grpc.ServicerContext) -> Answers:
        while context.is_active():
            time.sleep(0.05)
        return iter(())

    with serve({"StreamRerank": read_nothing}) as server:
        client = connect(server.target)
        client.call(RERANK, rerank("a"), timeout_ms=500)  # starts the driver
        with Memory(client.driver) as memory:
            error = client.call(
                RERANK, rerank("a", query="x" * 10 * KIB), repeat=100_000_000, timeout_ms=3_000
            ).error

    assert error.code == DEADLINE_EXCEEDED
    assert memory.peak() < 64 * MIB


def test_a_stream_of_no_requests_ends_well(connect: Connect, serve: Serve) -> None:
    def count(requests: Requests, _: grpc.ServicerContext) -> Answers:
        yield StreamRerankResponse(request_id=str(len(list(requests))))

    with serve({"StreamRerank": count}) as server:
        answer = connect(server.target).call(RERANK).answer

    assert answer.request_id == "0"


def test_a_server_may_end_a_stream_before_it_has_read_all(connect: Connect, serve: Serve) -> None:
    def first_alone(requests: Requests, _: grpc.ServicerContext) -> Answers:
        yield StreamRerankResponse(request_id=next(requests).request_id)

    with serve({"StreamRerank": first_alone}) as server:
        reply = connect(server.target).call(RERANK, rerank("a"), repeat=1_000_000)

    reply.assert_ok()
    assert [each.request_id for each in reply.responses] == ["a"]


def test_a_server_may_refuse_in_the_middle_of_a_stream(connect: Connect, serve: Serve) -> None:
    def three(requests: Requests, context: grpc.ServicerContext) -> Answers:
        for _ in range(3):
            yield StreamRerankResponse(request_id=next(requests).request_id)
        refuse(context, grpc.StatusCode.ABORTED, "enough")

    with serve({"StreamRerank": three}) as server:
        reply = connect(server.target).call(RERANK, rerank("a"), repeat=1_000_000)

    assert (reply.error.code, reply.error.message) == (ABORTED, "enough")
    assert reply.response_count == 3


def test_a_stream_of_answers_is_read_to_its_end(connect: Connect, serve: Serve) -> None:
    def pairs(
        request: ExportTrainingPairsRequest, _: grpc.ServicerContext
    ) -> Iterator[ExportTrainingPairsResponse]:
        for number in range(1_000):
            yield ExportTrainingPairsResponse(query=str(number), positives=["x" * 10 * KIB])

    with serve({"ExportTrainingPairs": pairs}) as server:
        reply = connect(server.target).call(
            "FeedbackService/ExportTrainingPairs", ExportTrainingPairsRequest(collection="docs")
        )

    reply.assert_ok()
    assert reply.response_count == 1_000
    assert [each.query for each in reply.responses] == [str(n) for n in range(984, 1_000)]


def test_the_real_server_answers_batches_in_order_and_a_bad_one_fails_alone(
    client: Client, bulk: str
) -> None:
    reply = client.call(UPSERT, batch("a", "b"), batch("c", "c"), batch("a", "d"))

    reply.assert_ok()
    first, bad, last = reply.responses
    assert (first.batch, first.inserted, first.updated) == (0, 2, 0)
    assert (bad.batch, bad.failure.code, bad.failure.reason) == (
        1,
        INVALID_ARGUMENT,
        "DUPLICATE_ID",
    )
    assert bad.failure.field == "passages[1].id"
    assert (last.batch, last.inserted, last.updated) == (2, 1, 1)


def test_the_real_server_stores_more_than_a_window_holds(
    client: Client, server: ServerProcess, bulk: str
) -> None:
    large = batch("a", "b", "c", "d", text="word " * 5_000)

    reply = client.call(UPSERT, large, repeat=100)

    reply.assert_ok()
    assert reply.response_count == 100
    assert [each.batch for each in reply.responses] == list(range(84, 100))
    assert all(each.updated == 4 for each in reply.responses)


def test_the_real_server_answers_each_rerank_by_its_id(client: Client) -> None:
    requests = [rerank(str(number), f"text {number}") for number in range(16)]
    requests[7] = rerank("7")  # without documents

    reply = client.call(RERANK, *requests)

    reply.assert_ok()
    answers = {each.request_id: each for each in reply.responses}
    assert answers.keys() == {str(number) for number in range(16)}
    assert answers.pop("7").failure.reason == "EMPTY_FIELD"
    assert all(len(each.response.results) == 1 for each in answers.values())


def test_the_real_server_reranks_more_than_a_window_holds(client: Client) -> None:
    request = rerank("a", "many words " * 2_000)

    reply = client.call(RERANK, request, repeat=300)

    reply.assert_ok()
    assert reply.response_count == 300
    assert len({each.response.results[0].score.logit for each in reply.responses}) == 1
