"""Every method that reflection lists, under bytes and messages that no client would send."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha import reflection_pb2

from finesieve.v1 import passages_pb2, rerank_pb2, retrieval_pb2
from tests.conftest import StartServer
from tests.e2e.hostile import hostile_bytes
from tests.e2e.requests import CREATE, RERANK, TEXTS, UPSERT, path_of, rerank
from tests.server.rpc.wire import Outcome, Wire, end_of

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# A call of ours, and how long one may take at most: none hangs.
TIMEOUT_S = 20.0


async def methods_of(wire: Wire) -> list[MethodDescriptor]:
    """Return every method that the server says it has, as reflection describes it."""
    asked = reflection_pb2.ServerReflectionRequest
    stream = wire.stream(REFLECTION)

    async def ask(request: reflection_pb2.ServerReflectionRequest) -> Any:
        await stream.write(request.SerializeToString())
        return reflection_pb2.ServerReflectionResponse.FromString(await stream.read())

    listed = await ask(asked(list_services=""))
    pool = descriptor_pool.DescriptorPool()
    methods: list[MethodDescriptor] = []
    for service in listed.list_services_response.service:
        described = await ask(asked(file_containing_symbol=service.name))
        contents = described.file_descriptor_response.file_descriptor_proto
        for content in reversed(contents):  # what a file imports comes after it
            file = descriptor_pb2.FileDescriptorProto.FromString(content)
            await add(pool, file, ask)
        methods += pool.FindServiceByName(service.name).methods
    await stream.done_writing()
    return methods


async def add(
    pool: descriptor_pool.DescriptorPool, file: descriptor_pb2.FileDescriptorProto, ask: Any
) -> None:
    """Add a file to the pool, and before it what it imports."""
    for name in file.dependency:
        try:
            pool.FindFileByName(name)
        except KeyError:
            request = reflection_pb2.ServerReflectionRequest(file_by_filename=name)
            [content, *_] = (await ask(request)).file_descriptor_response.file_descriptor_proto
            await add(pool, descriptor_pb2.FileDescriptorProto.FromString(content), ask)
    pool.Add(file)


async def outcome_of(wire: Wire, method: MethodDescriptor, content: bytes) -> Outcome:
    """Send one message to a method of any kind; return how the call ends."""
    if not (method.client_streaming or method.server_streaming):
        return await wire.call(path_of(method), content, timeout=TIMEOUT_S)
    stream = wire.stream(path_of(method), timeout=TIMEOUT_S)
    await stream.write(content)
    await stream.done_writing()
    if method.full_name == "grpc.health.v1.Health.Watch":
        # It never ends by itself, unless at once with an error.
        try:
            await stream.read()
        except grpc.aio.AioRpcError:
            return await end_of(stream)
        stream.cancel()
        return Outcome(grpc.StatusCode.OK)
    return await end_of(stream)


async def make_docs(wire: Wire) -> None:
    """Make the collection that hostile calls are aimed at, unless it is there."""
    await wire.call(CREATE, retrieval_pb2.CreateCollectionRequest(name="docs"))
    passages = [
        passages_pb2.Passage(id=f"p{at}", text=text, metadata={"number": at})
        for at, text in enumerate(TEXTS)
    ]
    await wire.call(
        UPSERT, retrieval_pb2.UpsertPassagesRequest(collection="docs", passages=passages)
    )


async def test_no_bytes_make_the_server_answer_unknown_fail_or_hang(
    start_server: StartServer, repetitions: Callable[[int, int], int]
) -> None:
    server = start_server()
    random = Random(7)
    count = repetitions(400, 100_000)
    outcomes: Counter[str] = Counter()
    async with Wire(server.address) as wire:
        methods = await methods_of(wire)
        for at in range(count):
            if at % 100 == 0:  # one of the calls before may have deleted it
                await make_docs(wire)
            method = methods[at % len(methods)]
            content = hostile_bytes(random, method.input_type)
            outcome = await outcome_of(wire, method, content)
            outcomes[outcome.code.name] += 1
            assert outcome.code not in (
                grpc.StatusCode.UNKNOWN,
                grpc.StatusCode.INTERNAL,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.UNAVAILABLE,
            ), (method.full_name, content.hex()[:2_000], outcome)

        answer = await wire.ask(RERANK, rerank("eels", *TEXTS), rerank_pb2.RerankResponse)

    assert {method.containing_service.name for method in methods} == {
        "RetrievalService",
        "RerankService",
        "SearchService",
        "EmbeddingService",
        "ModelService",
        "Health",
        "ServerReflection",
    }
    assert outcomes["INVALID_ARGUMENT"] > 0
    assert answer.results[0].index == 0
