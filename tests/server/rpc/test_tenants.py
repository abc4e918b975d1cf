"""Whose call it is: named at the door by a rule of the server's, and known to every stage."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from finesieve.v1 import embedding_pb2, rerank_pb2, search_pb2
from finesieve_server.errors import FailedPrecondition
from finesieve_server.rpc.visit import Context
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.embedder import Embedded, Role
from finesieve_server.search.ranking import Ranking
from finesieve_server.search.two_stage import SearchQuery, SearchResult
from tests.server.rpc.conftest import Serve
from tests.server.rpc.parts import LengthEmbedder, LengthReranker
from tests.server.rpc.wire import Outcome, end_of, outcome_of

RERANK = "/finesieve.v1.RerankService/Rerank"
STREAM = "/finesieve.v1.RerankService/StreamRerank"
SEARCH = "/finesieve.v1.SearchService/Search"
EMBED = "/finesieve.v1.EmbeddingService/Embed"
REQUEST = rerank_pb2.RerankRequest(query="q", documents=[rerank_pb2.Document(text="text")])


def named(context: Context) -> str:
    """Stand in for credentials: who says a name is believed."""
    metadata: Any = context.invocation_metadata()
    return str(dict(metadata)["x-tenant"])


def of(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("x-tenant", tenant),)


class Witness:
    """Every stage in one, which remembers whose calls it saw, and may hold them."""

    def __init__(self) -> None:
        self.tenants: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def rank(
        self, query: str, candidates: Sequence[Candidate], options: RerankOptions, call: Call
    ) -> Ranking:
        self.tenants.append(call.tenant)
        await self.go.wait()
        return await LengthReranker().rank(query, candidates, options, call)

    async def embed(
        self, texts: Sequence[str], role: Role, call: Call, *, model: str = ""
    ) -> Embedded:
        self.tenants.append(call.tenant)
        return await LengthEmbedder().embed(texts, role, call, model=model)

    async def search(self, query: SearchQuery, call: Call) -> SearchResult:
        self.tenants.append(call.tenant)
        return SearchResult([])


@pytest.fixture
async def witness() -> Witness:
    return Witness()


async def test_every_stage_knows_the_tenant_of_its_call(serve: Serve, witness: Witness) -> None:
    async with serve(
        reranker=witness, embedder=witness, two_stage=witness, tenant_of=named
    ) as wire:
        await wire.call(RERANK, REQUEST, metadata=of("a"))
        await wire.call(
            SEARCH, search_pb2.SearchRequest(collection="c", query="q"), metadata=of("b")
        )
        await wire.call(
            EMBED, embedding_pb2.EmbedRequest(texts=["t"], role="TEXT_ROLE_QUERY"), metadata=of("c")
        )
        stream = wire.stream(STREAM, metadata=of("d"))
        for _ in range(2):
            await stream.write(rerank_pb2.StreamRerankRequest(request=REQUEST).SerializeToString())
        await stream.done_writing()
        await end_of(stream)

    assert witness.tenants == ["a", "b", "c", "d", "d"]


async def test_without_such_a_rule_nobody_can_name_a_tenant(serve: Serve, witness: Witness) -> None:
    async with serve(reranker=witness) as wire:
        await wire.call(RERANK, REQUEST, metadata=(*of("mallory"), ("tenant", "mallory")))

    assert witness.tenants == ["default"]


async def test_who_is_nobody_is_refused_unread(serve: Serve) -> None:
    def nobody(_: Context) -> str:
        raise FailedPrecondition("who are you?")

    async with serve(tenant_of=nobody) as wire:
        refused = await wire.call(RERANK, b"\xff\xff\xff")

    assert (refused.code, refused.message) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "who are you?",
    )


async def test_a_noisy_tenant_cannot_take_all_places(serve: Serve, witness: Witness) -> None:
    witness.go.clear()
    async with serve(reranker=witness, tenant_of=named, max_calls=18) as wire:
        noisy = [
            asyncio.create_task(wire.call(RERANK, REQUEST, metadata=of("noisy"))) for _ in range(50)
        ]
        refused: set[asyncio.Task[Outcome]] = set()
        while len(refused) < 50 - 16:
            refused, _ = await asyncio.wait(noisy, timeout=0.01)
        quiet = wire.start(RERANK, REQUEST, metadata=of("quiet"))
        async with asyncio.timeout(10):
            while "quiet" not in witness.tenants:  # noqa: ASYNC110 - gRPC's own threads bring it
                await asyncio.sleep(0.001)
        witness.go.set()
        answered = await outcome_of(quiet)
        await asyncio.gather(*noisy)

    assert answered.ok
    assert {each.result().reason for each in refused} == {"OVERLOADED"}
    assert witness.tenants.count("noisy") == 16


async def test_the_line_of_a_call_names_its_tenant(serve: Serve) -> None:
    with capture_logs() as logs:
        async with serve(tenant_of=named) as wire:
            await wire.call(RERANK, REQUEST, metadata=of("a"))

    [line] = [line for line in logs if line["event"] == "call"]
    assert line["tenant"] == "a"
