"""Too many elements, vectors and numbers out of range: what they get."""

from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from finesieve.v1 import (
    embedding_pb2,
    passages_pb2,
    retrieval_pb2,
    search_pb2,
)
from tests.e2e.requests import (
    BATCH,
    COLLECTION,
    EMBED,
    LIST,
    RERANK,
    RETRIEVE,
    SEARCH,
    TEXTS,
    UPSERT,
    assert_invalid,
    rerank,
    values,
)
from tests.server.rpc.wire import Wire

pytestmark = pytest.mark.usefixtures("alive")


@pytest.mark.parametrize(
    ("path", "request_", "field"),
    [
        (RERANK, rerank("q", *["a"] * 1_001), "documents"),
        (EMBED, embedding_pb2.EmbedRequest(texts=["a"] * 1_001), "texts"),
        (
            UPSERT,
            retrieval_pb2.UpsertPassagesRequest(
                collection=COLLECTION, passages=[passages_pb2.Passage(id="a", text="a")] * 1_001
            ),
            "passages",
        ),
        (
            BATCH,
            retrieval_pb2.BatchRetrieveRequest(
                collection=COLLECTION, queries=[retrieval_pb2.RetrievalQuery(text="a")] * 1_001
            ),
            "queries",
        ),
    ],
    ids=["documents", "texts", "passages", "queries"],
)
async def test_more_than_the_limit_is_too_large_a_batch(
    filled: None, wire: Wire, path: str, request_: Message, field: str
) -> None:
    outcome = await wire.call(path, request_)

    assert_invalid(outcome, "BATCH_TOO_LARGE", field)
    assert outcome.detail("ErrorInfo").metadata["limit"] == "1000"


BAD_EMBEDDINGS = {
    "too short": values(1.0, size=383),
    "too long": values(1.0, size=385),
    "empty": passages_pb2.Embedding(),
    "NaN": values(1.0, float("nan")),
    "infinity": values(float("-inf")),
    "zero": values(),
}


@pytest.mark.parametrize("embedding", BAD_EMBEDDINGS.values(), ids=BAD_EMBEDDINGS)
async def test_a_bad_embedding_is_refused_by_its_position(
    filled: None, wire: Wire, embedding: passages_pb2.Embedding
) -> None:
    passages = [
        passages_pb2.Passage(id="fine", text="text", embedding=values(1.0)),
        passages_pb2.Passage(id="bad", text="text", embedding=embedding),
    ]
    upsert = retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=passages)
    retrieve = retrieval_pb2.RetrieveRequest(collection=COLLECTION, embedding=embedding)
    query = retrieval_pb2.RetrievalQuery
    batch = retrieval_pb2.BatchRetrieveRequest(
        collection=COLLECTION, queries=[query(text="fine"), query(embedding=embedding)]
    )

    for path, request, field in (
        (UPSERT, upsert, "passages[1].embedding"),
        (RETRIEVE, retrieve, "embedding"),
        (BATCH, batch, "queries[1].embedding"),
    ):
        outcome = await wire.call(path, request)
        assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT, outcome
        [named] = outcome.fields
        assert named.startswith(field), (named, field)


async def test_an_embedding_of_another_dimension_is_refused_by_its_path_in_each_request(
    filled: None, wire: Wire
) -> None:
    query = retrieval_pb2.RetrievalQuery
    short = query(embedding=passages_pb2.Embedding(values=[1.0]))
    queries = [*[query(text="fine")] * 40, short]
    batch = retrieval_pb2.BatchRetrieveRequest(collection=COLLECTION, queries=queries)
    search = search_pb2.SearchRequest(
        collection=COLLECTION, query="fine", retrieval_queries=queries[-3:]
    )

    for path, request, field in (
        (BATCH, batch, "queries[40].embedding"),
        (SEARCH, search, "retrieval_queries[2].embedding"),
    ):
        assert_invalid(await wire.call(path, request), "INVALID_FIELD", field)


async def test_top_k_of_zero_is_the_default_and_over_the_corpus_is_fewer(
    filled: None, wire: Wire
) -> None:
    async def hits(top_k: int) -> int:
        request = retrieval_pb2.RetrieveRequest(collection=COLLECTION, text="eel", top_k=top_k)
        return len((await wire.ask(RETRIEVE, request, retrieval_pb2.RetrieveResponse)).hits)

    assert await hits(0) == await hits(1_000) == len(TEXTS)
    assert await hits(2) == 2


@pytest.mark.parametrize(
    ("path", "request_", "field"),
    [
        (RETRIEVE, {"text": "q", "top_k": 1_001}, "top_k"),
        (RETRIEVE, {"text": "q", "top_k": 2**32 - 1}, "top_k"),
        (RETRIEVE, {"text": "q", "options": {"ef_search": 5}}, "options.ef_search"),
        (RETRIEVE, {"text": "q", "options": {"ef_search": 4_097}}, "options.ef_search"),
        (SEARCH, {"query": "q", "retrieve_k": 5, "top_n": 6}, "retrieve_k"),
        (SEARCH, {"query": "q", "retrieve_k": 1_001}, "retrieve_k"),
        (SEARCH, {"query": "q", "retrieval": {"ef_search": 50}}, "retrieval.ef_search"),
        (SEARCH, {"query": "q", "rerank": {"max_chunks": 65}}, "rerank.max_chunks"),
        (
            SEARCH,
            {"query": "q", "rerank": {"min_probability": "NaN"}},
            "rerank.min_probability",
        ),
        (
            SEARCH,
            {"query": "q", "rerank": {"first_stage_weight": 1.5}},
            "rerank.first_stage_weight",
        ),
    ],
)
async def test_numbers_out_of_range_are_refused_by_their_field(
    filled: None, wire: Wire, path: str, request_: dict[str, Any], field: str
) -> None:
    kind: type[Message] = (
        retrieval_pb2.RetrieveRequest if path == RETRIEVE else search_pb2.SearchRequest
    )
    request = json_format.ParseDict({"collection": COLLECTION, **request_}, kind())

    assert_invalid(await wire.call(path, request), "INVALID_FIELD", field)


async def test_first_stage_scores_stand_on_all_documents_or_none(wire: Wire) -> None:
    request = rerank("q", "a", "b")
    request.documents[0].first_stage_score = 1.0
    mixed = await wire.call(RERANK, request)
    request.documents[1].first_stage_score = float("nan")
    not_a_number = await wire.call(RERANK, request)

    assert mixed.code is not_a_number.code is grpc.StatusCode.INVALID_ARGUMENT
    assert mixed.fields[0].startswith("documents")
    assert not_a_number.fields[0].startswith("documents")


@pytest.mark.parametrize("token", ["garbage", "\u00fc", "AAAA", "=", "A" * 100_000])
async def test_a_page_token_that_was_never_given_is_refused(
    filled: None, wire: Wire, token: str
) -> None:
    passages = retrieval_pb2.ListPassagesRequest(collection=COLLECTION, page_token=token)
    collections = retrieval_pb2.ListCollectionsRequest(page_token=token)
    list_collections = "/finesieve.v1.RetrievalService/ListCollections"

    assert_invalid(await wire.call(LIST, passages), "BAD_PAGE_TOKEN", "page_token")
    assert_invalid(await wire.call(list_collections, collections), "BAD_PAGE_TOKEN", "page_token")
