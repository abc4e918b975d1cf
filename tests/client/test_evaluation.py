import math
from collections.abc import Mapping, Sequence

import grpc
import pytest

from finesieve.v1.rerank_pb2 import RerankRequest, RerankResponse, RerankResult
from finesieve.v1.results_pb2 import Hit, Score
from finesieve.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse
from finesieve.v1.search_pb2 import SearchHit, SearchRequest, SearchResponse
from finesieve_client import AsyncClient, passage
from finesieve_client.evaluation import (
    BOTH,
    CROSS_ENCODER,
    FIRST_STAGE,
    RERANK,
    RETRIEVE,
    REWRITE,
    Evaluator,
    Ranking,
    cross_encoder_order,
    evaluation_of,
    sample,
)
from tests.client.scripted_server import Answer, ScriptedServer

LOGITS = {"a": 1.0, "b": 3.0, "c": 2.0}


class Server:
    """Retrieves a, b, c; reranks by LOGITS, or with the first stage's scores to c, b, a."""

    def __init__(self) -> None:
        self.reranks: list[str] = []
        self.searches: list[SearchRequest] = []

    def answers(self) -> Mapping[str, Answer]:
        return {"Retrieve": self.retrieve, "Rerank": self.rerank, "Search": self.search}

    def retrieve(self, request: RetrieveRequest, _: grpc.ServicerContext) -> RetrieveResponse:
        names = "" if request.text == "nothing" else "abc"
        return RetrieveResponse(hits=[Hit(passage=passage(name, "text")) for name in names])

    def search(self, request: SearchRequest, _: grpc.ServicerContext) -> SearchResponse:
        self.searches.append(request)
        hits = [SearchHit(hit=Hit(passage=passage(name, "text"))) for name in "abc"]
        return SearchResponse(hits=hits)

    def rerank(self, request: RerankRequest, _: grpc.ServicerContext) -> RerankResponse:
        self.reranks.append(request.query)
        return RerankResponse(
            results=[
                RerankResult(index="abc".index(name), id=name, score=Score(logit=LOGITS[name]))
                for name in "cba"
            ]
        )


async def ranked(server: Server, queries: Mapping[str, str]) -> list[Ranking]:
    with ScriptedServer(server.answers()) as running:
        async with AsyncClient(running.target) as client:
            evaluator = Evaluator(client, "docs", 100, {})
            return [each async for each in evaluator.rank_all(queries, calls_at_once=2)]


async def test_one_rerank_gives_the_order_of_the_blend_and_of_the_logits() -> None:
    (ranking,) = await ranked(Server(), {"q": "question"})

    assert ranking.order == {
        FIRST_STAGE: ["a", "b", "c"],
        CROSS_ENCODER: ["b", "c", "a"],
        BOTH: ["c", "b", "a"],
    }


async def test_every_query_is_reranked_once() -> None:
    server = Server()

    rankings = await ranked(server, {f"q{number}": f"question {number}" for number in range(10)})

    assert len(rankings) == 10
    assert sorted(server.reranks) == [f"question {number}" for number in range(10)]


async def test_a_query_that_finds_nothing_is_ranked_without_a_rerank() -> None:
    server = Server()

    (ranking,) = await ranked(server, {"q": "nothing"})

    assert not server.reranks
    assert all(list(order) == [] for order in ranking.order.values())


async def test_a_rewritten_question_is_retrieved_with_its_queries_and_reranked_as_it_was() -> None:
    async def rewrite(question: str) -> Sequence[str]:
        return [question, f"other words for {question}"]

    server = Server()
    with ScriptedServer(server.answers()) as running:
        async with AsyncClient(running.target) as client:
            evaluator = Evaluator(client, "docs", 50, {}, mode="hybrid", rewrite=rewrite)
            ranking = await evaluator.rank("q", "question")

    (asked,) = server.searches
    assert [each.text for each in asked.retrieval_queries] == [
        "question",
        "other words for question",
    ]
    assert (asked.query, asked.skip_rerank, asked.retrieve_k, asked.top_n) == (
        "question",
        True,
        50,
        50,
    )
    assert server.reranks == ["question"]
    assert list(ranking.order[FIRST_STAGE]) == ["a", "b", "c"]
    assert list(ranking.stage_s) == [REWRITE, RETRIEVE, RERANK]


def test_equal_logits_keep_the_first_stages_order_and_unscored_ones_come_last() -> None:
    results = [
        RerankResult(index=0, id="unscored"),
        RerankResult(index=2, id="second", score=Score(logit=-1)),
        RerankResult(index=1, id="first", score=Score(logit=-1)),
    ]

    assert [each.id for each in cross_encoder_order(results)] == ["first", "second", "unscored"]


def ranking(query_id: str, first: str, alone: str, both: str, seconds: float = 0.1) -> Ranking:
    order = {FIRST_STAGE: list(first), CROSS_ENCODER: list(alone), BOTH: list(both)}
    return Ranking(query_id, order, {RETRIEVE: seconds, RERANK: 2 * seconds}, unscored=0)


def test_the_measures_are_those_of_the_textbook() -> None:
    rankings = [ranking("q1", "xya", "xab", "abx"), ranking("q2", "a", "a", "a")]
    relevant = {"q1": {"a": 2, "b": 1}, "q2": {"a": 1}, "q3": {"a": 1}}

    quality = evaluation_of(rankings, relevant, 100).quality

    ideal = 2 + 1 / math.log2(3)
    assert quality[FIRST_STAGE]["MRR@10"] == pytest.approx((1 / 3 + 1) / 2)
    assert quality[FIRST_STAGE]["recall@100"] == pytest.approx((1 / 2 + 1) / 2)
    assert quality[CROSS_ENCODER]["nDCG@10"] == pytest.approx(
        ((2 / math.log2(3) + 1 / math.log2(4)) / ideal + 1) / 2
    )
    assert quality[BOTH] == {"nDCG@10": 1.0, "recall@100": 1.0, "MRR@10": 1.0}


@pytest.mark.parametrize(("retrieve_k", "depth"), [(2, 2), (100, 100), (500, 100)])
def test_recall_is_named_by_how_deep_it_looks(retrieve_k: int, depth: int) -> None:
    evaluation = evaluation_of([ranking("q1", "xa", "xa", "xa")], {"q1": {"a": 1}}, retrieve_k)

    assert evaluation.quality[BOTH][f"recall@{depth}"] == 1.0
    assert len(evaluation.quality[BOTH]) == 3


def test_a_query_that_found_nothing_counts_as_nothing() -> None:
    rankings = [ranking("q1", "", "", ""), ranking("q2", "a", "a", "a")]

    evaluation = evaluation_of(rankings, {"q1": {"a": 1}, "q2": {"a": 1}}, 100)

    assert evaluation.quality[BOTH] == {"nDCG@10": 0.5, "recall@100": 0.5, "MRR@10": 0.5}


def test_the_latencies_are_percentiles_of_each_stage() -> None:
    rankings = [ranking(f"q{number}", "a", "a", "a", number / 1000) for number in range(1, 101)]

    latency = evaluation_of(rankings, {f"q{n}": {"a": 1} for n in range(1, 101)}, 100).latency

    assert (latency[RETRIEVE].p50_ms, latency[RETRIEVE].p95_ms) == pytest.approx((50, 95))
    assert (latency[RERANK].p50_ms, latency[RERANK].p95_ms) == pytest.approx((100, 190))


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    queries = {f"q{number}": str(number) for number in range(100)}

    first, again, other = sample(queries, 10, 1), sample(queries, 10, 1), sample(queries, 10, 2)

    assert first == again
    assert len(first) == 10
    assert first != other
    assert sample(queries, None, 1) == sample(queries, 1000, 1) == queries
