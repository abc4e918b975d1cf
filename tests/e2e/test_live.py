"""A real server whose index grows, is compacted and is saved while it is searched."""

import asyncio
from collections.abc import Callable

import grpc

from benchmarks.live import BATCH, UPKEEP, Live, clusters
from finesieve.v1 import passages_pb2, retrieval_pb2, retrieval_pb2_grpc
from tests.conftest import StartServer

PASSAGES = 3_000  # enough for a graph
SEARCHERS = 3


async def test_searches_while_the_index_is_written_to_lose_and_double_nothing(
    start_server: StartServer,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    batches = repetitions(60, 4_000)
    server = start_server("--models", "none")

    async with grpc.aio.insecure_channel(server.address) as channel:
        live = Live(channel, clusters(50_000, 32, seed=6), PASSAGES, seed=6)
        await live.fill()
        await live.run(3_600, batches)

    outcome, log = live.outcome, server.log_path.read_text()
    upkeep = {what: log.count(f'"{what}"') for what in UPKEEP}
    report(f"{outcome.written} written, {dict(outcome.checks)} checked, {upkeep}")
    assert outcome.wrong == []
    assert outcome.written == batches * (BATCH + BATCH // 4)
    assert outcome.checks["there"] > batches
    assert outcome.checks["gone"] > 0
    assert outcome.checks["not reached in the graph"] <= outcome.checks["there"] // 100
    assert upkeep["index compaction finished"] > 0
    assert upkeep["snapshot saved"] > 0


async def test_a_filtered_search_never_misses_the_passage_that_is_updated(
    start_server: StartServer, repetitions: Callable[[int, int], int]
) -> None:
    server = start_server("--models", "none")
    passage = passages_pb2.Passage(id="p", text="live")
    passage.embedding.values.extend([0.5] * 8)
    passage.metadata.update({"kind": "only"})
    upsert = retrieval_pb2.UpsertPassagesRequest(collection="live", passages=[passage])
    request = retrieval_pb2.RetrieveRequest(collection="live", top_k=1)
    request.embedding.values.extend([0.5] * 8)
    request.filter.match.field = "kind"
    request.filter.match.any_of.add(string_value="only")
    stop, found = asyncio.Event(), []

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)

        async def search() -> None:
            while not stop.is_set():
                found.append([hit.passage.id for hit in (await stub.Retrieve(request)).hits])

        await stub.CreateCollection(
            retrieval_pb2.CreateCollectionRequest(name="live", dimension=8, caller_embeds=True)
        )
        await stub.UpsertPassages(upsert)
        searching = [asyncio.create_task(search()) for _ in range(SEARCHERS)]
        for _ in range(repetitions(300, 10_000)):
            await stub.UpsertPassages(upsert)
        stop.set()
        await asyncio.gather(*searching)

    assert len(found) > SEARCHERS
    assert [each for each in found if each != ["p"]] == []
