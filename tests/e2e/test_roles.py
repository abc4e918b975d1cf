"""Roles: a server that retrieves, replicas that rerank, and no Search that notices one die."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from demo.server_process import ServerProcess
from finesieve.v1 import (
    models_pb2,
    passages_pb2,
    rerank_pb2,
    results_pb2,
    retrieval_pb2,
    search_pb2,
)
from tests.conftest import StartServer
from tests.e2e.gauges import metric
from tests.e2e.requests import CREATE, MODELS, RERANK, SEARCH, TEXTS, UPSERT
from tests.server.rpc.wire import Outcome, Wire

HEALTH = "/grpc.health.v1.Health/Check"
COLLECTION = "roles"
LONG = " ".join(TEXTS) + " "
CALLERS = 6


def target_of(*replicas: ServerProcess) -> str:
    return "ipv4:" + ",".join(each.address for each in replicas)


def search(query: str, **options: Any) -> search_pb2.SearchRequest:
    return search_pb2.SearchRequest(
        collection=COLLECTION,
        query=query,
        retrieve_k=12,
        rerank=rerank_pb2.RerankOptions(**options),
    )


async def fill(wire: Wire) -> None:
    """Make a collection of short passages, of long ones, and of one that has a title."""
    await wire.ask(
        CREATE,
        retrieval_pb2.CreateCollectionRequest(name=COLLECTION),
        retrieval_pb2.CreateCollectionResponse,
    )
    texts = [*TEXTS, *(f"{text} Number {at}." for at, text in enumerate(TEXTS)), LONG * 20, LONG]
    passages = [passages_pb2.Passage(id=f"p{at}", text=text) for at, text in enumerate(texts)]
    passages[0].title = "On eels"
    await wire.ask(
        UPSERT,
        retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=passages),
        retrieval_pb2.UpsertPassagesResponse,
    )


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("replica")
    with ServerProcess(folder / "data", folder / "server.log", ("--role", "rerank")) as process:
        yield process.wait_until_serving()


@pytest.fixture(scope="module")
def retrieval(
    replica: ServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("retrieval")
    # Few documents a call, so that one Search goes out in parts.
    options = ("--role", "retrieval", "--rerank-target", target_of(replica), "--max-documents", "5")
    with ServerProcess(folder / "data", folder / "server.log", options) as process:
        yield process.wait_until_serving()


@pytest.fixture(scope="module")
def filled_both(server: ServerProcess, retrieval: ServerProcess) -> None:
    async def fill_both() -> None:
        for each in (server, retrieval):
            async with Wire(each.address) as wire:
                await fill(wire)

    asyncio.run(fill_both())


@pytest.fixture
async def wires(
    server: ServerProcess, retrieval: ServerProcess, filled_both: None
) -> AsyncIterator[tuple[Wire, Wire]]:
    """Yield wires to a server of all roles and to one that asks a replica; both hold the same."""
    async with Wire(server.address) as own, Wire(retrieval.address) as asking:
        yield own, asking


async def answered_reranks(replica: ServerProcess) -> float:
    return await metric(
        replica, "finesieve_calls_total", method="finesieve.v1.RerankService.Rerank", status="OK"
    )


@dataclass
class Load:
    """Callers who search again as soon as they are answered."""

    wire: Wire
    outcomes: list[Outcome] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Search while the block runs, and let the last ones be answered."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for caller in range(CALLERS):
                group.create_task(self._call(caller, stop))
            try:
                yield
            finally:
                stop.set()

    async def _call(self, caller: int, stop: asyncio.Event) -> None:
        numbers = count()
        while not stop.is_set():
            request = search(f"eels of caller {caller}, number {next(numbers)}")
            self.outcomes.append(await self.wire.call(SEARCH, request, timeout=30))

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.02)

    async def go_on(self, calls: int) -> None:
        """Return when so many more are answered."""
        enough = len(self.outcomes) + calls
        await self.until(lambda: len(self.outcomes) >= enough)


async def takes_part(replica: ServerProcess) -> None:
    """Return when the replica has answered some calls more."""
    enough = await answered_reranks(replica) + 5
    while await answered_reranks(replica) < enough:  # noqa: ASYNC110 - another process counts
        await asyncio.sleep(0.05)


async def test_no_search_fails_while_replicas_die_come_back_and_drain(
    start_server: StartServer,
) -> None:
    first, second = start_server("--role", "rerank"), start_server("--role", "rerank")
    retrieval = start_server("--role", "retrieval", "--rerank-target", target_of(first, second))
    async with Wire(retrieval.address) as wire, asyncio.timeout(120):
        await fill(wire)
        load = Load(wire)

        async with load.running():
            await takes_part(first)
            await takes_part(second)
            first.kill()
            await load.go_on(30)
            again = await asyncio.to_thread(
                start_server, "--role", "rerank", "--port", f"{first.port}"
            )
            await takes_part(again)
            assert await asyncio.to_thread(second.stop) == 0
            await load.go_on(30)

    failed = [each for each in load.outcomes if not each.ok]
    assert not failed, failed[:3]
    assert len(load.outcomes) > 60


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"first_stage_weight": 0.7, "min_probability": 0.001},
        {"long_passage": rerank_pb2.LONG_PASSAGE_CHUNK, "max_chunks": 2},
        {"long_passage": rerank_pb2.LONG_PASSAGE_FAIL, "priority": rerank_pb2.PRIORITY_BULK},
        {"max_passage_tokens": 8, "on_deadline": rerank_pb2.ON_DEADLINE_PARTIAL},
    ],
)
async def test_a_replicas_scores_are_the_servers_own(
    wires: tuple[Wire, Wire], options: dict[str, Any]
) -> None:
    request = search("where do eels go", **options)

    own, replicas = [await each.ask(SEARCH, request, search_pb2.SearchResponse) for each in wires]

    assert replicas.timings.rerank_us >= replicas.timings.tokenize_us > 0
    for answer in (own, replicas):
        answer.ClearField("timings")
        answer.usage.ClearField("cached_pairs")  # which pairs were asked for before
    assert len(own.hits) == 10 or options.get("min_probability")
    assert replicas == own


@pytest.mark.parametrize("options", [{"model": "nobody"}, {"instruction": "rank by age"}])
async def test_a_replicas_refusal_is_the_servers_own(
    wires: tuple[Wire, Wire], options: dict[str, Any]
) -> None:
    request = search("where do eels go", **options)

    own, replicas = [await each.call(SEARCH, request) for each in wires]

    assert not own.ok
    assert (replicas.code, replicas.reason) == (own.code, own.reason)
    assert (replicas.message, replicas.fields) == (own.message, own.fields)


async def test_a_role_serves_its_own_services_and_no_others(
    replica: ServerProcess, retrieval: ServerProcess
) -> None:
    for server, served, unserved, models in (
        (replica, "RerankService", "SearchService", {"finesieve-minilm-l6"}),
        (retrieval, "SearchService", "RerankService", {"all-MiniLM-L6-v2"}),
    ):
        async with Wire(server.address) as wire:
            paths = {"RerankService": RERANK, "SearchService": SEARCH}
            refused = await wire.call(paths[unserved], b"")
            assert (refused.code, refused.reason) == (
                grpc.StatusCode.UNIMPLEMENTED,
                "UNIMPLEMENTED",
            )
            assert (await health_of(wire, unserved)).code is grpc.StatusCode.NOT_FOUND
            healthy = await health_of(wire, served)
            assert health_pb2.HealthCheckResponse.FromString(healthy.answer).status == 1
            listed = await wire.ask(
                MODELS, models_pb2.ListModelsRequest(), models_pb2.ListModelsResponse
            )
            assert {each.name for each in listed.models} == models
    assert not replica.data_dir.exists()


async def health_of(wire: Wire, service: str) -> Outcome:
    request = health_pb2.HealthCheckRequest(service=f"finesieve.v1.{service}")
    return await wire.call(HEALTH, request)


async def test_without_any_replica_retrieval_goes_on(start_server: StartServer) -> None:
    alone = start_server("--role", "retrieval", "--rerank-target", "ipv4:127.0.0.1:1")
    async with Wire(alone.address) as wire:
        await fill(wire)
        partial = search("eels", on_deadline=rerank_pb2.ON_DEADLINE_PARTIAL)
        first_stage = search("eels")
        first_stage.skip_rerank = True

        refused = await wire.call(SEARCH, search("eels"))
        cut_short = await wire.ask(SEARCH, partial, search_pb2.SearchResponse)
        retrieved = await wire.ask(SEARCH, first_stage, search_pb2.SearchResponse)

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert refused.detail("RetryInfo").retry_delay.seconds == 1
    assert "127.0.0.1" not in refused.message
    assert cut_short.partial
    assert {each.hit.status for each in cut_short.hits} == {results_pb2.SCORE_STATUS_DEADLINE}
    assert [each.hit.passage.id for each in cut_short.hits] == [
        each.hit.passage.id for each in retrieved.hits
    ]
