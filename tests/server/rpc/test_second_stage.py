"""Rerank, Search, Embed and ListModels, as the contract says them, over fakes that say little."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from finesieve.v1 import (
    embedding_pb2,
    models_pb2,
    passages_pb2,
    rerank_pb2,
    results_pb2,
    search_pb2,
)
from finesieve_server.errors import Overloaded, TooLong
from finesieve_server.index.records import Found, Neighbours, Passage
from finesieve_server.search.hits import Retrieved, SearchHit
from finesieve_server.search.ranking import Ranked, Score, ScoreStatus, Usage
from finesieve_server.search.retriever import Mode
from finesieve_server.search.two_stage import SearchResult
from tests.server.rpc.conftest import Serve
from tests.server.rpc.parts import CannedSearch, LengthReranker
from tests.server.rpc.wire import Wire, end_of

RERANK = "/finesieve.v1.RerankService/Rerank"
STREAM = "/finesieve.v1.RerankService/StreamRerank"
SEARCH = "/finesieve.v1.SearchService/Search"
EMBED = "/finesieve.v1.EmbeddingService/Embed"

DOCUMENTS = [
    rerank_pb2.Document(id="short", text="a", first_stage_score=0.5),
    rerank_pb2.Document(id="long", text="aaa", title="t", first_stage_score=0.25),
    rerank_pb2.Document(text="aa", first_stage_score=0.0),
]


@pytest.fixture
async def wire(serve: Serve) -> AsyncIterator[Wire]:
    async with serve() as wire:
        yield wire


async def test_documents_come_back_best_first_by_index_and_id(wire: Wire) -> None:
    request = rerank_pb2.RerankRequest(query="q", documents=DOCUMENTS)

    answer = await wire.ask(RERANK, request, rerank_pb2.RerankResponse)

    assert [(each.index, each.id) for each in answer.results] == [
        (1, "long"),
        (2, ""),
        (0, "short"),
    ]
    best = answer.results[0]
    assert (best.score.logit, best.score.probability, best.score.ordering) == (3.0, 0.5, 3.0)
    assert best.status == results_pb2.SCORE_STATUS_SCORED
    assert not best.HasField("document")
    assert not best.HasField("best_span")
    assert not best.HasField("failure")
    assert answer.model == "length"
    assert answer.own_first_stage_weight == 0.3
    assert answer.query_truncated
    assert (answer.usage.pairs, answer.usage.tokens) == (3, 7)
    assert answer.timings.rerank_us == 250_000
    assert answer.timings.total_us > 0


async def test_top_n_cuts_and_more_than_there_are_is_all(wire: Wire) -> None:
    async def indexes(top_n: int) -> list[int]:
        request = rerank_pb2.RerankRequest(query="q", documents=DOCUMENTS, top_n=top_n)
        answer = await wire.ask(RERANK, request, rerank_pb2.RerankResponse)
        return [each.index for each in answer.results]

    assert await indexes(1) == [1]
    assert await indexes(0) == await indexes(3) == await indexes(2**32 - 1) == [1, 2, 0]


async def test_documents_are_returned_whole_where_asked(wire: Wire) -> None:
    request = rerank_pb2.RerankRequest(query="q", documents=DOCUMENTS, return_documents=True)

    answer = await wire.ask(RERANK, request, rerank_pb2.RerankResponse)

    assert [each.document for each in answer.results] == [DOCUMENTS[1], DOCUMENTS[2], DOCUMENTS[0]]


async def test_documents_that_do_not_fit_an_answer_are_not_sent(serve: Serve) -> None:
    documents = [rerank_pb2.Document(text="x" * 100_000)] * 45
    request = rerank_pb2.RerankRequest(query="q", documents=documents, return_documents=True)

    async with serve(max_request_bytes=8 * 1024 * 1024) as wire:
        with_documents = await wire.call(RERANK, request)
        request.return_documents = False
        without = await wire.call(RERANK, request)

    assert with_documents.reason == "ANSWER_TOO_LARGE"
    assert without.ok


async def test_a_span_and_a_failure_are_written(serve: Serve) -> None:
    class Mixed:
        async def rank(self, *asked: Any) -> Any:
            ranking = await LengthReranker().rank(*asked)
            ranking.results[0] = Ranked(
                0, ScoreStatus.TRUNCATED, Score(1, 0.75, 2), best_span=(3, 9)
            )
            ranking.results[1] = Ranked(1, ScoreStatus.DEADLINE)
            ranking.results[2] = Ranked(2, ScoreStatus.FAILED, failure=TooLong("text", 9, 8))
            return ranking

    async with serve(reranker=Mixed()) as wire:
        request = rerank_pb2.RerankRequest(query="q", documents=DOCUMENTS)
        answer = await wire.ask(RERANK, request, rerank_pb2.RerankResponse)

    truncated, unscored, failed = answer.results
    assert truncated.status == results_pb2.SCORE_STATUS_TRUNCATED
    assert (truncated.best_span.start, truncated.best_span.end) == (3, 9)
    assert unscored.status == results_pb2.SCORE_STATUS_DEADLINE
    assert not unscored.HasField("score")
    assert failed.status == results_pb2.SCORE_STATUS_FAILED
    assert failed.failure == results_pb2.Failure(
        code=3,
        reason="TOO_LONG",
        message="text has 9 characters; at most 8 are allowed",
        field="documents[2].text",
    )


async def test_a_streams_answers_carry_their_requests_ids(wire: Wire) -> None:
    stream = wire.stream(STREAM)
    for number in range(20):
        message = rerank_pb2.StreamRerankRequest(
            request_id=f"r{number}",
            request=rerank_pb2.RerankRequest(query="q", documents=DOCUMENTS[: 1 + number % 3]),
        )
        await stream.write(message.SerializeToString())
    await stream.done_writing()

    answers = [rerank_pb2.StreamRerankResponse.FromString(await stream.read()) for _ in range(20)]
    ended = await end_of(stream)

    assert {each.request_id: len(each.response.results) for each in answers} == {
        f"r{number}": 1 + number % 3 for number in range(20)
    }
    assert ended.ok


async def test_a_failed_request_leaves_its_stream_going(serve: Serve) -> None:
    reranker = LengthReranker()
    reranker.failures = {
        "busy": Overloaded("busy", retry_after_s=0.5),
        "bug": KeyError("what the passage says"),
    }
    async with serve(reranker=reranker) as wire:
        stream = wire.stream(STREAM, metadata=(("x-request-id", "r-3"),))
        got = {}
        for query in ("busy", "bug", "", "fine"):
            documents = DOCUMENTS if query else []
            message = rerank_pb2.StreamRerankRequest(
                request_id=query,
                request=rerank_pb2.RerankRequest(query=query, documents=documents),
            )
            await stream.write(message.SerializeToString())
            answer = rerank_pb2.StreamRerankResponse.FromString(await stream.read())
            got[answer.request_id] = answer
        await stream.done_writing()
        ended = await end_of(stream)

    assert got["busy"].failure.reason == "OVERLOADED"
    assert got["busy"].failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert got["busy"].failure.retry_delay.ToMilliseconds() == 500
    assert got["bug"].failure.reason == "INTERNAL"
    assert got["bug"].failure.message == "internal error; quote request id r-3"
    assert (got[""].failure.reason, got[""].failure.field) == ("EMPTY_FIELD", "documents")
    assert got["fine"].response.results
    assert ended.ok


def found(id: str, rank: int, score: float, ranked: Ranked | None = None) -> SearchHit:
    passage = Passage(
        id=id,
        text=f"text of {id}",
        metadata={"n": 1.0, "of": {"a": [True, None]}},
        embedding=np.array([1, 2], np.float32),
    )
    return SearchHit(Retrieved(passage, [(rank, Found(passage, score))]), ranked)


async def test_both_stages_ranks_and_scores_are_told(serve: Serve) -> None:
    second = Ranked(1, ScoreStatus.SCORED, Score(2, 0.875, 1), best_span=(0, 4))
    result = SearchResult(
        [found("b", 2, 0.5, second), found("a", 1, 0.75, Ranked(0, ScoreStatus.DEADLINE))],
        partial=True,
        query_truncated=True,
        usage=Usage(2, 30, 1),
    )
    async with serve(two_stage=CannedSearch(result)) as wire:
        request = search_pb2.SearchRequest(collection="c", query="q")
        answer = await wire.ask(SEARCH, request, search_pb2.SearchResponse)

    first, last = (each.hit for each in answer.hits)
    assert (first.rank, first.retrieval_rank, first.retrieval_score) == (1, 2, 0.5)
    assert (first.score.logit, first.score.probability, first.best_span.end) == (2, 0.875, 4)
    assert first.passage.text == "text of b"
    assert json_format.MessageToDict(first.passage.metadata) == {
        "n": 1.0,
        "of": {"a": [True, None]},
    }
    assert not first.passage.HasField("embedding")
    assert (last.rank, last.retrieval_rank) == (2, 1)
    assert last.status == results_pb2.SCORE_STATUS_DEADLINE
    assert not last.HasField("score")
    assert answer.partial
    assert answer.query_truncated
    assert (answer.usage.pairs, answer.usage.tokens, answer.usage.cached_pairs) == (2, 30, 1)
    assert answer.timings.total_us > 0
    assert answer.search_id == ""  # nothing here takes feedback on it


async def test_windows_and_merged_ids_are_told_in_the_view_asked_for(serve: Serve) -> None:
    parent, around = Passage("parent", "long"), [Passage(each, f"text of {each}") for each in "xyz"]
    places = [(rank, Found(Passage(each), 1 / rank)) for rank, each in [(2, "b"), (5, "a")]]
    hit = SearchHit(Retrieved(parent, places), None, Neighbours(around[:2], around[2:]))
    async with serve(two_stage=CannedSearch(SearchResult([hit]))) as wire:
        request = search_pb2.SearchRequest(collection="c", query="q")
        full = await wire.ask(SEARCH, request, search_pb2.SearchResponse)
        request.view = passages_pb2.PASSAGE_VIEW_ID
        ids = await wire.ask(SEARCH, request, search_pb2.SearchResponse)

    [told] = full.hits
    assert (told.hit.retrieval_rank, told.hit.retrieval_score) == (2, 0.5)
    assert list(told.merged_ids) == ["b", "a"]
    assert [(each.id, each.text) for each in told.before] == [
        ("x", "text of x"),
        ("y", "text of y"),
    ]
    assert [each.id for each in told.after] == ["z"]
    assert list(ids.hits[0].before) == [passages_pb2.Passage(id=each) for each in "xy"]


async def test_context_and_diversity_are_asked_for_with_their_defaults(serve: Serve) -> None:
    search = CannedSearch()
    async with serve(two_stage=search) as wire:
        ask = partial(search_pb2.SearchRequest, collection="c", query="q")
        for request in (
            ask(),
            ask(diversity={}, context={"window": 100, "merge_share": 1}),
            ask(diversity={"relevance_weight": 0.0}, context={"merge_share": 0.6}),
        ):
            await wire.ask(SEARCH, request, search_pb2.SearchResponse)

    asked = [
        (each.context.window, each.context.merge_share, each.relevance_weight)
        for each in search.asked
    ]
    assert asked == [(0, 0, None), (100, 1, 0.5), (0, pytest.approx(0.6), 0)]


async def test_views_bring_back_as_much_as_they_say(serve: Serve) -> None:
    result = SearchResult([found("a", 1, 0.5)])
    async with serve(two_stage=CannedSearch(result)) as wire:

        async def passage(view: passages_pb2.PassageView) -> passages_pb2.Passage:
            request = search_pb2.SearchRequest(collection="c", query="q", view=view)
            answer = await wire.ask(SEARCH, request, search_pb2.SearchResponse)
            return answer.hits[0].hit.passage

        only_id = await passage(passages_pb2.PASSAGE_VIEW_ID)
        full = await passage(passages_pb2.PASSAGE_VIEW_UNSPECIFIED)
        with_embedding = await passage(passages_pb2.PASSAGE_VIEW_WITH_EMBEDDING)

    assert only_id == passages_pb2.Passage(id="a")
    assert (full.text, full.metadata["n"]) == ("text of a", 1.0)
    assert not full.HasField("embedding")
    assert list(with_embedding.embedding.values) == [1.0, 2.0]


async def test_a_search_asks_for_its_defaults(serve: Serve) -> None:
    search = CannedSearch()
    async with serve(two_stage=search) as wire:
        ask = search_pb2.SearchRequest
        for request in (
            ask(collection="c", query="q"),
            ask(collection="c", query="q", retrieve_k=5),
            ask(collection="c", query="q", retrieve_k=30, top_n=20, skip_rerank=True),
        ):
            await wire.ask(SEARCH, request, search_pb2.SearchResponse)

    asked = [(each.retrieval.top_k, each.top_n, each.rerank is None) for each in search.asked]
    assert asked == [(100, 10, False), (5, 5, False), (30, 20, True)]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"retrieve_k": 5, "top_n": 6}, "retrieve_k"),
        ({"top_n": 101}, "retrieve_k"),
        ({"retrieve_k": 1001}, "retrieve_k"),
        ({"top_n": 1001, "retrieve_k": 1000}, "top_n"),
        ({"view": 9}, "view"),
        ({"retrieval": {"ef_search": 99}}, "retrieval.ef_search"),
        ({"retrieval": {"mode": 9}}, "retrieval.mode"),
        ({"rerank": {"long_passage": 9}}, "rerank.long_passage"),
        ({"filter": {}}, "filter"),
        ({"context": {"window": 101}}, "context.window"),
        ({"context": {"window": 10**9}}, "context.window"),
        ({"context": {"window": 2**32 - 1}}, "context.window"),
        *(
            (fields, field)
            for bad in (float("nan"), -1.0, -1e-9, 1.0001, 2.0, float("inf"), -float("inf"))
            for fields, field in (
                ({"context": {"merge_share": bad}}, "context.merge_share"),
                ({"diversity": {"relevance_weight": bad}}, "diversity.relevance_weight"),
            )
        ),
        ({"collection": ""}, "collection"),
        ({"collection": "No Such"}, "collection"),
    ],
)
async def test_a_search_out_of_range_is_refused_by_its_field(
    wire: Wire, fields: dict[str, Any], field: str
) -> None:
    request = search_pb2.SearchRequest(**{"collection": "c", "query": "q", **fields})

    outcome = await wire.call(SEARCH, request)

    assert (outcome.code, outcome.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_no_window_is_one_of_those_allowed(wire: Wire) -> None:
    request = search_pb2.SearchRequest(collection="c", query="q", context={"window": 101})

    outcome = await wire.call(SEARCH, request)

    assert outcome.message == "context.window is 101; allowed 0..100"


async def test_retrieval_queries_are_read_and_an_embedding_without_words_gets_the_query(
    serve: Serve,
) -> None:
    search = CannedSearch()
    request = search_pb2.SearchRequest(
        collection="c",
        query="sieve",
        retrieval={"mode": results_pb2.RETRIEVAL_MODE_HYBRID},
        retrieval_queries=[
            {"text": "a text"},
            {"embedding": {"values": [1.0]}},
            {"embedding": {"values": [2.0]}, "words": "own"},
        ],
    )

    async with serve(two_stage=search) as wire:
        await wire.ask(SEARCH, request, search_pb2.SearchResponse)

    [asked] = search.asked
    assert asked.retrieval.mode is Mode.HYBRID
    assert [query.text for query in asked.retrieval_queries] == ["a text", "", ""]
    assert [query.words for query in asked.retrieval_queries] == ["", "sieve", "own"]


@pytest.mark.parametrize(
    ("queries", "field"),
    [([{}], "retrieval_queries[0]"), ([{"text": "q"}] * 33, "retrieval_queries")],
)
async def test_retrieval_queries_that_cannot_be_are_refused_by_their_field(
    wire: Wire, queries: list[dict[str, Any]], field: str
) -> None:
    request = search_pb2.SearchRequest(collection="c", query="q", retrieval_queries=queries)

    outcome = await wire.call(SEARCH, request)

    assert (outcome.code, outcome.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_texts_are_embedded_in_order(wire: Wire) -> None:
    query = embedding_pb2.TEXT_ROLE_QUERY
    request = embedding_pb2.EmbedRequest(texts=["a", "abc"], role=query, model="m")

    answer = await wire.ask(EMBED, request, embedding_pb2.EmbedResponse)

    assert [list(each.values) for each in answer.embeddings] == [[1, 1], [3, 1]]
    assert (answer.model, answer.tokens, list(answer.truncated)) == ("m", 11, [0])
    assert answer.timings.embed_us == 500_000


async def test_texts_have_a_least_and_a_largest_count(wire: Wire) -> None:
    none = await wire.call(EMBED, embedding_pb2.EmbedRequest())
    many = await wire.call(EMBED, embedding_pb2.EmbedRequest(texts=["a"] * 51))

    assert (none.reason, none.fields) == ("EMPTY_FIELD", ["texts"])
    assert (many.reason, many.fields) == ("BATCH_TOO_LARGE", ["texts"])
    assert many.detail("ErrorInfo").metadata["limit"] == "50"


async def test_a_server_without_models_lists_none(wire: Wire) -> None:
    path = "/finesieve.v1.ModelService/ListModels"

    answer = await wire.ask(path, models_pb2.ListModelsRequest(), models_pb2.ListModelsResponse)

    assert not answer.models
