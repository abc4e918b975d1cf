import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from finesieve.v1.rerank_pb2 import RerankRequest, RerankResponse, RerankResult
from finesieve.v1.results_pb2 import (
    SCORE_STATUS_DEADLINE,
    SCORE_STATUS_FAILED,
    SCORE_STATUS_SCORED,
    Failure,
    Hit,
    RerankUsage,
    Score,
    StageTimings,
)
from finesieve.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse
from finesieve.v1.search_pb2 import SearchResponse
from finesieve_client import (
    AsyncClient,
    AsyncTwoStage,
    Client,
    DeadlineExceeded,
    TwoStage,
    document,
    passage,
)
from finesieve_client.two_stage import Chain
from tests.client.scripted_server import Answer, ScriptedServer

HITS = [
    Hit(
        passage=passage(name, f"text of {name}", title=name.upper()),
        rank=rank,
        retrieval_rank=rank,
        retrieval_score=1 / rank,
    )
    for rank, name in enumerate("abc", start=1)
]


class TwoServers:
    """One that retrieves HITS and one that puts the last document first."""

    def __init__(self) -> None:
        self.retrieves: list[RetrieveRequest] = []
        self.reranks: list[RerankRequest] = []
        self.remaining_s: list[float] = []
        self.hits = HITS
        self.pause = threading.Event()
        self.pause_s = 0.0

    def retrieve(self, request: RetrieveRequest, context: grpc.ServicerContext) -> RetrieveResponse:
        self.retrieves.append(request)
        self.remaining_s.append(context.time_remaining())
        self.pause.wait(self.pause_s)
        return RetrieveResponse(hits=self.hits, timings=StageTimings(embed_us=300, retrieve_us=100))

    def rerank(self, request: RerankRequest, context: grpc.ServicerContext) -> RerankResponse:
        self.reranks.append(request)
        self.remaining_s.append(context.time_remaining())
        results = [
            RerankResult(
                index=2,
                id="c",
                score=Score(logit=4, probability=0.98, ordering=1.5),
                status=SCORE_STATUS_SCORED,
            ),
            RerankResult(
                index=0, id="a", status=SCORE_STATUS_FAILED, failure=Failure(reason="TOO_LONG")
            ),
        ]
        return RerankResponse(
            results=results,
            model="m",
            usage=RerankUsage(pairs=3),
            timings=StageTimings(rerank_us=5000, tokenize_us=20),
            query_truncated=True,
        )

    @contextmanager
    def running(self) -> Iterator[tuple[str, str]]:
        with (
            ScriptedServer({"Retrieve": self.retrieve}) as first,
            ScriptedServer({"Rerank": self.rerank}) as second,
        ):
            yield first.target, second.target

    async def search(self, *arguments: Any, **options: Any) -> list[SearchResponse]:
        """Return what both clients get."""
        with self.running() as (first, second):
            with Client(first) as retrieval, Client(second) as reranking:
                answer = TwoStage(retrieval, reranking).search(*arguments, **options)
            async with AsyncClient(first) as aretrieval, AsyncClient(second) as areranking:
                two_stage = AsyncTwoStage(aretrieval, areranking)
                return [answer, await two_stage.search(*arguments, **options)]


async def test_hits_carry_both_ranks_and_both_scores() -> None:
    servers = TwoServers()

    for answer in await servers.search("docs", "what is c?", retrieve_k=30, top_n=2):
        best, failed = (found.hit for found in answer.hits)
        assert (best.rank, best.retrieval_rank, best.passage.id) == (1, 3, "c")
        assert best.score.logit == 4
        assert best.retrieval_score == pytest.approx(1 / 3)
        assert (failed.rank, failed.retrieval_rank) == (2, 1)
        assert not failed.HasField("score")
        assert failed.failure.reason == "TOO_LONG"
        assert answer.query_truncated
        assert answer.usage.pairs == 3


async def test_the_second_stage_gets_the_first_ones_passages_and_scores() -> None:
    servers = TwoServers()

    await servers.search(
        "docs",
        "what is c?",
        retrieve_k=30,
        top_n=2,
        filter=document("d"),
        ef_search=99,
        model="m",
        first_stage_weight=0.25,
        on_deadline="partial",
    )

    assert servers.retrieves[0] == servers.retrieves[1]
    assert servers.retrieves[0].top_k == 30
    assert servers.retrieves[0].options.ef_search == 99
    assert servers.retrieves[0].filter.document_id == "d"
    assert servers.reranks[0] == servers.reranks[1]
    documents = servers.reranks[0].documents
    assert [each.id for each in documents] == ["a", "b", "c"]
    assert [each.title for each in documents] == ["A", "B", "C"]
    assert [each.text for each in documents] == ["text of a", "text of b", "text of c"]
    assert [each.first_stage_score for each in documents] == pytest.approx([1, 1 / 2, 1 / 3])
    assert servers.reranks[0].top_n == 2
    assert servers.reranks[0].options.model == "m"
    assert servers.reranks[0].options.first_stage_weight == 0.25


async def test_the_timings_are_those_of_both_stages() -> None:
    for answer in await TwoServers().search("docs", "what is c?"):
        timings = answer.timings
        assert (timings.embed_us, timings.retrieve_us) == (300, 100)
        assert (timings.rerank_us, timings.tokenize_us) == (5000, 20)
        assert timings.total_us > 0


async def test_one_time_limit_holds_over_both_calls() -> None:
    servers = TwoServers()
    servers.pause_s = 0.4

    await servers.search("docs", "what is c?", timeout_s=5)

    # gRPC rounds a time limit up on the wire, by less than two per cent.
    for first_s, second_s in (servers.remaining_s[:2], servers.remaining_s[2:]):
        assert first_s > 4.7
        assert second_s < 4.7


async def test_where_nothing_is_found_nothing_is_reranked() -> None:
    servers = TwoServers()
    servers.hits = []

    for answer in await servers.search("docs", "what is c?"):
        assert not answer.hits
        assert not answer.partial

    assert not servers.reranks


def test_one_client_may_serve_both_stages() -> None:
    servers = TwoServers()
    answers: dict[str, Answer] = {"Retrieve": servers.retrieve, "Rerank": servers.rerank}

    with ScriptedServer(answers) as server, Client(server.target) as client:
        answer = TwoStage(client).search("docs", "what is c?")

    assert [found.hit.passage.id for found in answer.hits] == ["c", "a"]


async def test_a_first_stage_that_takes_all_the_time_is_deadline_exceeded() -> None:
    chain = Chain.of("docs", "what is c?", 0, 0, -1.0, {})

    with pytest.raises(DeadlineExceeded, match="the first stage took all"):
        chain.rerank(RetrieveResponse(hits=HITS))


async def test_a_partial_answer_is_the_first_stages_order_where_that_took_all_the_time() -> None:
    chain = Chain.of("docs", "what is c?", 0, 2, -1.0, {"on_deadline": "partial"})
    retrieved = RetrieveResponse(hits=HITS)

    assert chain.rerank(retrieved) is None
    answer = chain.answer(retrieved, None)

    assert answer.partial
    assert [found.hit.passage.id for found in answer.hits] == ["a", "b"]
    assert all(found.hit.status == SCORE_STATUS_DEADLINE for found in answer.hits)
