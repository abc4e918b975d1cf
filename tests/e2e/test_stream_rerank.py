"""StreamRerank on a real server: flow control both ways, and a stream that ends in every way."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from demo.server_process import ServerProcess
from finesieve.v1 import rerank_pb2
from finesieve_client import AsyncClient, rerank_request
from tests.e2e.gauges import memory_bytes, metric, nothing_is_left_inside
from tests.e2e.requests import MIB, STREAM_RERANK, TEXTS, rerank
from tests.server.rpc.wire import Wire, end_of

LONG = [f"{number} " + "many words in a row " * 50 for number in range(1_000)]
# Echoed in the answer, so that what goes in and what comes out is large and costs no scoring.
LARGE_ID = "x" * 40_000


def message(request_id: str, request: rerank_pb2.RerankRequest) -> bytes:
    return rerank_pb2.StreamRerankRequest(
        request_id=request_id, request=request
    ).SerializeToString()


async def answer_of(stream: Any) -> rerank_pb2.StreamRerankResponse:
    return rerank_pb2.StreamRerankResponse.FromString(await stream.read())


def large(number: int) -> bytes:
    document = rerank_pb2.Document(id=LARGE_ID, text="eels")
    request = rerank_pb2.RerankRequest(query="Where?", documents=[document])
    return message(str(number), request)


class Pushing:
    """A sender who sends all it has as fast as the stream takes it, and then the end."""

    def __init__(self, stream: Any, requests: int) -> None:
        self.sent = 0
        self._stream = stream
        self._requests = requests
        self.done = asyncio.create_task(self._push())

    async def _push(self) -> None:
        for number in range(self._requests):
            await self._stream.write(large(number))
            self.sent += 1
        await self._stream.done_writing()

    async def is_held_back(self) -> int:
        """Return how many were sent when for a second no more were taken."""
        before = -1
        while self.sent != before:
            before = self.sent
            await asyncio.sleep(1)
        return before


async def test_a_sender_who_does_not_read_is_held_back_and_later_answered_in_full(
    server: ServerProcess, wire: Wire, repetitions: Callable[[int, int], int]
) -> None:
    requests = repetitions(500, 10_000)
    before = memory_bytes(server)
    stream = wire.stream(STREAM_RERANK)
    pushing = Pushing(stream, requests)
    held_back_at = await pushing.is_held_back()
    growth = memory_bytes(server) - before
    answers = [await answer_of(stream) for _ in range(requests)]
    ended = await end_of(stream)
    await pushing.done

    # gRPC's buffers of both sides hold some 9 MB; the sender has 20 MB, or 400.
    assert held_back_at * len(LARGE_ID) < 16 * MIB
    assert growth < 32 * MIB
    assert memory_bytes(server) - before < 64 * MIB
    assert sorted(int(each.request_id) for each in answers) == list(range(requests))
    assert all(each.response.results[0].id == LARGE_ID for each in answers)
    assert ended.ok


async def test_requests_that_fail_among_others_fail_alone_under_their_ids(
    server: ServerProcess,
) -> None:
    def request(number: int) -> rerank_pb2.RerankRequest:
        match number % 4:
            case 1:
                return rerank_request("", TEXTS)
            case 2:
                return rerank_request("Where do eels go?", TEXTS, model="unknown")
            case _:
                return rerank_request(f"Where do eels go? {number}", TEXTS)

    async with AsyncClient(server.address) as client:
        requests = [(f"r{number}", request(number)) for number in range(100)]
        answers = {each.request_id: each async for each in client.stream_rerank(requests)}

    told = {
        request_id: each.failure.reason if each.HasField("failure") else each.response.results[0].id
        for request_id, each in answers.items()
    }
    reasons = ["", "EMPTY_FIELD", "MODEL_NOT_FOUND", ""]
    assert told == {f"r{number}": reasons[number % 4] for number in range(100)}


async def test_a_stream_cancelled_in_the_middle_leaves_nothing_behind(
    server: ServerProcess, wire: Wire
) -> None:
    streams = [wire.stream(STREAM_RERANK) for _ in range(5)]
    for stream in streams:
        for number in range(8):
            await stream.write(message(str(number), rerank(f"query {number}", *LONG[:100])))
    async with asyncio.timeout(20):
        while not await metric(server, "finesieve_waiting_tokens"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for stream in streams:
        stream.cancel()

    # All of it takes a minute.
    await nothing_is_left_inside(server, within_s=10)


async def test_a_streams_deadline_ends_it_and_frees_its_work(
    server: ServerProcess, wire: Wire
) -> None:
    stream = wire.stream(STREAM_RERANK, timeout=1.0)
    await stream.write(message("short", rerank("query", "text")))
    first = await answer_of(stream)
    for number in range(8):
        await stream.write(message(str(number), rerank(f"query {number}", *LONG[:100])))
    ended = await end_of(stream)

    await nothing_is_left_inside(server)

    assert first.response.results
    assert ended.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_request_too_long_for_what_its_stream_has_left_fails_alone(wire: Wire) -> None:
    stream = wire.stream(STREAM_RERANK, timeout=6.0)
    await stream.write(message("long", rerank("query", *LONG)))
    long = await answer_of(stream)
    await stream.write(message("short", rerank("query", "text")))
    short = await answer_of(stream)
    await stream.done_writing()
    ended = await end_of(stream)

    assert (long.request_id, long.failure.reason) == ("long", "DEADLINE_TOO_SHORT")
    assert (short.request_id, short.HasField("response")) == ("short", True)
    assert ended.ok


async def test_a_sender_who_has_ended_is_answered_to_the_last(wire: Wire) -> None:
    stream = wire.stream(STREAM_RERANK)
    for number in range(20):
        await stream.write(message(str(number), rerank(f"query {number}", *TEXTS)))
    await stream.done_writing()

    answers = [await answer_of(stream) for _ in range(20)]
    ended = await end_of(stream)

    assert sorted(int(each.request_id) for each in answers) == list(range(20))
    assert ended.ok
