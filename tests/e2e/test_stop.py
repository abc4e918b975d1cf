"""SIGTERM under load: who was let in is answered, and everybody else is told UNAVAILABLE."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from demo.server_process import ServerProcess
from finesieve.v1 import passages_pb2, rerank_pb2, retrieval_pb2, search_pb2
from tests.conftest import StartServer
from tests.e2e.requests import (
    COLLECTION,
    CREATE,
    RERANK,
    SEARCH,
    STREAM_RERANK,
    TEXTS,
    UPSERT,
    passage_count,
    rerank,
    values,
)
from tests.server.rpc.wire import Outcome, Wire

STREAM_UPSERT = "/finesieve.v1.RetrievalService/StreamUpsertPassages"
HEALTH = "/grpc.health.v1.Health/Check"

CreateCollection = retrieval_pb2.CreateCollectionRequest
Upsert = retrieval_pb2.UpsertPassagesRequest
StreamUpsert = retrieval_pb2.StreamUpsertPassagesRequest

Choose = Callable[[int, int], int]
Request = Callable[[str], Message]


@dataclass(frozen=True)
class Ended:
    """How one call ended, and how many answers it brought. Its name is its request id."""

    name: str
    outcome: Outcome
    answers: int

    @property
    def is_refused(self) -> bool:
        return self.outcome.reason == "UNAVAILABLE"

    @property
    def found_nobody(self) -> bool:
        return not self.outcome.ok and not self.outcome.reason


@dataclass
class Load:
    """Callers who call again as soon as they are answered or refused, until nobody is there."""

    wire: Wire
    target: str
    run: int
    ended: list[Ended] = field(default_factory=list)
    health_when_refused: int | None = None
    answers: Counter[str] = field(default_factory=Counter)
    answered: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def call(self, caller: str, path: str, request: Request) -> None:
        for name in self._ids(caller):
            outcome = await self.wire.call(path, request(name), metadata=(("x-request-id", name),))
            if outcome.ok:
                await self._count(caller)
            if await self._is_over(Ended(name, outcome, answers=int(outcome.ok))):
                return

    async def stream(self, caller: str, path: str, request: Request) -> None:
        loop = asyncio.get_running_loop()

        def answered() -> None:
            asyncio.run_coroutine_threadsafe(self._count(caller), loop).result()

        for name in self._ids(caller):
            ended = await asyncio.to_thread(stream_once, self.target, name, path, request, answered)
            if await self._is_over(ended):
                return

    async def everybody_has(self, callers: int, answers: int) -> None:
        """Return once each of the callers has had so many answers."""
        async with self.answered:
            await self.answered.wait_for(
                lambda: len(self.answers) == callers and min(self.answers.values()) >= answers
            )

    def _ids(self, caller: str) -> Iterator[str]:
        return (f"{self.run}-{caller}-{at}" for at in count())

    async def _count(self, caller: str) -> None:
        async with self.answered:
            self.answers[caller] += 1
            self.answered.notify_all()

    async def _is_over(self, ended: Ended) -> bool:
        self.ended.append(ended)
        if ended.is_refused and self.health_when_refused is None:
            ask, answer = health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse
            self.health_when_refused = (await self.wire.ask(HEALTH, ask, answer)).status
        return not ended.outcome.ok and not ended.is_refused


def stream_once(
    target: str, name: str, path: str, request: Request, answered: Callable[[], None]
) -> Ended:
    """Send requests without end, and return how the stream ended.

    In a thread, since grpc.aio forgets the server's status when it comes amid writing.
    """
    requests = (request(f"{name}-{at}").SerializeToString() for at in count())
    with grpc.insecure_channel(target, [("grpc.enable_retries", 0)]) as channel:
        start: Any = channel.stream_stream(path)
        stream = start(requests, metadata=(("x-request-id", name),))
        answers = 0
        try:
            for _ in stream:
                answers += 1
                answered()
        except grpc.RpcError:
            outcome = Outcome(
                stream.code(), stream.details(), trailers=dict(stream.trailing_metadata())
            )
            return Ended(name, outcome, answers)
    raise AssertionError(f"{name} ended before its requests")


async def stop_under(
    server: ServerProcess, load: Load, callers: Sequence[Awaitable[None]], answers: int
) -> None:
    """Send SIGTERM once each caller has had so many answers; return when all have given up."""
    calling = asyncio.gather(*callers)
    async with asyncio.timeout(60):
        await load.everybody_has(len(callers), answers)
        exit_code = await asyncio.to_thread(server.stop)
        await calling
    assert exit_code == 0


def assert_nothing_lost(server: ServerProcess, load: Load) -> None:
    """Compare what each caller was told with what the server's log says of that call."""
    records = [json.loads(line) for line in server.log_path.read_text().splitlines()]
    calls = {record["request_id"]: record for record in records if record["event"] == "call"}
    for each in load.ended:
        told = each.outcome.code.name
        if call := calls.get(each.name):
            assert (told, each.answers) == (call["status"], call["answers"]), each
            assert call["requests"] == call["answers"], each
        else:
            assert (told, each.found_nobody) == ("UNAVAILABLE", True), each
    assert any(each.is_refused for each in load.ended)
    assert load.health_when_refused == health_pb2.HealthCheckResponse.NOT_SERVING
    assert {record["level"] for record in records} == {"info"}


def upsert(kind: type[Message], size: int, **fields: Any) -> Request:
    """Return what makes an upsert, alone or of a stream, of passages that nobody else sends."""

    def request(name: str) -> Message:
        passages = [
            passages_pb2.Passage(id=f"{name}-{at}", text=TEXTS[at % 4], **fields)
            for at in range(size)
        ]
        return kind(collection=COLLECTION, passages=passages)

    return request


def search_for(name: str) -> search_pb2.SearchRequest:
    return search_pb2.SearchRequest(collection=COLLECTION, query=f"Where do eels go? {name}")


def rerank_for(name: str) -> rerank_pb2.RerankRequest:
    return rerank(f"Where do eels go? {name}", *TEXTS)


def stream_rerank_for(name: str) -> rerank_pb2.StreamRerankRequest:
    return rerank_pb2.StreamRerankRequest(request_id=name, request=rerank_for(name))


async def test_stopping_under_upserts_loses_none_and_stores_none_that_it_refused(
    start_server: StartServer, tmp_path: Path, repetitions: Choose
) -> None:
    moments = random.Random(7)
    stored = 0
    for run in range(repetitions(4, 100)):
        server = start_server("--models", "none", data_dir=tmp_path / "data")
        async with Wire(server.address) as wire:
            if run == 0:
                create = CreateCollection(name=COLLECTION, caller_embeds=True, dimension=2)
                await wire.ask(CREATE, create, retrieval_pb2.CreateCollectionResponse)
            assert await passage_count(wire) == stored
            load = Load(wire, server.address, run)
            some: dict[str, Any] = {"size": 20, "embedding": values(1.0, run, size=2)}
            callers = [load.call(f"upsert{at}", UPSERT, upsert(Upsert, **some)) for at in range(4)]
            callers.append(load.stream("stream", STREAM_UPSERT, upsert(StreamUpsert, **some)))
            await stop_under(server, load, callers, answers=moments.randint(1, 30))
        assert_nothing_lost(server, load)
        stored += 20 * load.answers.total()


async def test_stopping_under_reranks_searches_and_streams_loses_none(
    start_server: StartServer, repetitions: Choose
) -> None:
    moments = random.Random(7)
    for run in range(repetitions(2, 100)):
        server = start_server()
        async with Wire(server.address) as wire:
            create = CreateCollection(name=COLLECTION)
            await wire.ask(CREATE, create, retrieval_pb2.CreateCollectionResponse)
            load = Load(wire, server.address, run)
            callers = [
                load.call("upsert", UPSERT, upsert(Upsert, size=2)),
                load.call("search", SEARCH, search_for),
                load.call("rerank", RERANK, rerank_for),
                load.stream("stream", STREAM_RERANK, stream_rerank_for),
            ]
            await stop_under(server, load, callers, answers=moments.randint(1, 8))
        assert_nothing_lost(server, load)
