"""RetrievalService as the contract says it, over a real index whose callers embed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from structlog.testing import capture_logs

from finesieve.v1 import passages_pb2, retrieval_pb2
from finesieve_server.index.records import Passage, Upserted
from finesieve_server.rpc.loading import Loading
from finesieve_server.rpc.visit import Visit
from finesieve_server.search.call import Call
from tests.server.rpc.conftest import Serve
from tests.server.rpc.parts import LIMITS
from tests.server.rpc.wire import Outcome, Wire, end_of

SERVICE = "/finesieve.v1.RetrievalService/"
DIMENSION = 4


@pytest.fixture
async def wire(serve: Serve) -> AsyncIterator[Wire]:
    """Yield a wire to a server with an empty collection "docs"."""
    async with serve() as wire:
        await create(wire, "docs")
        yield wire


async def create(wire: Wire, name: str, **fields: Any) -> passages_pb2.Collection:
    request = retrieval_pb2.CreateCollectionRequest(
        **{"name": name, "caller_embeds": True, "dimension": DIMENSION, **fields}
    )
    path = SERVICE + "CreateCollection"
    answer = await wire.ask(path, request, retrieval_pb2.CreateCollectionResponse)
    return answer.collection


def passage(number: int, **fields: Any) -> passages_pb2.Passage:
    angle = number / 100
    vector = [np.cos(angle), np.sin(angle), 0, 0]
    return passages_pb2.Passage(
        **{
            "id": f"p{number:03}",
            "text": f"text {number}",
            "metadata": {"number": number, "even": number % 2 == 0},
            "embedding": passages_pb2.Embedding(values=vector),
            **fields,
        }
    )


async def upsert(wire: Wire, passages: Sequence[passages_pb2.Passage]) -> Outcome:
    request = retrieval_pb2.UpsertPassagesRequest(collection="docs", passages=passages)
    return await wire.call(SERVICE + "UpsertPassages", request)


def vector(number: int) -> passages_pb2.Embedding:
    return passage(number).embedding


def even() -> passages_pb2.Filter:
    return json_format.ParseDict(
        {"match": {"field": "even", "any_of": [True]}}, passages_pb2.Filter()
    )


async def test_a_collection_is_described_as_it_was_made(wire: Wire) -> None:
    made = await create(
        wire,
        "other",
        distance=passages_pb2.DISTANCE_L2,
        hnsw=passages_pb2.HnswOptions(m=8, ef_search=32),
    )
    got = await wire.ask(
        SERVICE + "GetCollection",
        retrieval_pb2.GetCollectionRequest(name="other"),
        retrieval_pb2.GetCollectionResponse,
    )

    assert got.collection == made
    assert (made.name, made.dimension, made.distance) == ("other", 4, passages_pb2.DISTANCE_L2)
    assert made.hnsw == passages_pb2.HnswOptions(m=8, ef_construction=200, ef_search=32)
    assert made.caller_embeds
    assert made.embedding_model == ""
    assert made.state == passages_pb2.COLLECTION_STATE_READY
    assert made.create_time.seconds > 1_700_000_000


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "Bad Name"}, "name"),
        ({"name": ""}, "name"),
        ({"distance": 9}, "distance"),
        ({"hnsw": {"m": 1}}, "hnsw.m"),
        ({"dimension": 0}, "dimension"),
        ({"embedding_model": "m"}, "embedding_model"),
    ],
)
async def test_a_collection_that_cannot_be_is_refused(
    wire: Wire, fields: dict[str, Any], field: str
) -> None:
    request = retrieval_pb2.CreateCollectionRequest(
        **{"name": "new", "caller_embeds": True, "dimension": 4, **fields}
    )

    outcome = await wire.call(SERVICE + "CreateCollection", request)

    assert (outcome.code, outcome.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_a_server_without_a_bi_encoder_says_what_to_do(wire: Wire) -> None:
    request = retrieval_pb2.CreateCollectionRequest(name="new")

    outcome = await wire.call(SERVICE + "CreateCollection", request)

    assert outcome.code is grpc.StatusCode.FAILED_PRECONDITION
    assert outcome.message == (
        "this server has no bi-encoder; bring embeddings, in a collection made with "
        "caller_embeds, or start it with a bi-encoder in --models"
    )


async def test_collections_are_listed_by_name_page_by_page_and_deleted(wire: Wire) -> None:
    for name in ("b", "a", "c"):
        await create(wire, name)
    names = []
    token = ""
    while True:
        request = retrieval_pb2.ListCollectionsRequest(page_size=2, page_token=token)
        page = await wire.ask(
            SERVICE + "ListCollections", request, retrieval_pb2.ListCollectionsResponse
        )
        names.append([collection.name for collection in page.collections])
        token = page.next_page_token
        if not token:
            break

    delete = retrieval_pb2.DeleteCollectionRequest(name="a")
    first = await wire.call(SERVICE + "DeleteCollection", delete)
    second = await wire.call(SERVICE + "DeleteCollection", delete)
    again = await wire.call(
        SERVICE + "CreateCollection",
        retrieval_pb2.CreateCollectionRequest(name="b", caller_embeds=True, dimension=4),
    )

    assert names == [["a", "b"], ["c", "docs"]]
    assert first.ok
    assert second.reason == "COLLECTION_NOT_FOUND"
    assert again.code is grpc.StatusCode.ALREADY_EXISTS


async def test_passages_come_back_as_they_were_stored(wire: Wire) -> None:
    stored = passage(
        1,
        title="title",
        metadata={"a": {"b": [1, "x", True, None]}, "empty": {}, "none": []},
        document_id="d",
        ordinal=2,
        parent_id="up",
    )
    await upsert(wire, [stored, passage(2)])

    async def get(view: passages_pb2.PassageView) -> retrieval_pb2.GetPassagesResponse:
        request = retrieval_pb2.GetPassagesRequest(
            collection="docs", ids=["p002", "gone", "p001"], view=view
        )
        return await wire.ask(SERVICE + "GetPassages", request, retrieval_pb2.GetPassagesResponse)

    whole = await get(passages_pb2.PASSAGE_VIEW_WITH_EMBEDDING)
    ids = await get(passages_pb2.PASSAGE_VIEW_ID)
    full = await get(passages_pb2.PASSAGE_VIEW_UNSPECIFIED)

    assert [each.id for each in whole.passages] == ["p002", "p001"]
    assert whole.missing_ids == ["gone"]
    back = whole.passages[1]
    np.testing.assert_allclose(back.embedding.values, stored.embedding.values, atol=1e-6)
    back.ClearField("embedding")
    stored.ClearField("embedding")
    assert back == stored == full.passages[1]
    assert ids.passages[1] == passages_pb2.Passage(id="p001")


async def test_an_upsert_says_what_was_new(wire: Wire) -> None:
    await upsert(wire, [passage(1), passage(2)])

    outcome = await upsert(wire, [passage(2), passage(3)])

    answer = retrieval_pb2.UpsertPassagesResponse.FromString(outcome.answer)
    assert (answer.inserted, answer.updated) == (1, 1)


async def test_an_upsert_that_replaces_documents_says_what_it_removed(wire: Wire) -> None:
    await upsert(wire, [passage(n, document_id="d") for n in range(5)])
    request = retrieval_pb2.UpsertPassagesRequest(
        collection="docs",
        passages=[passage(4, document_id="d"), passage(5, document_id="d")],
        replace_documents=True,
    )

    answer = await wire.ask(
        SERVICE + "UpsertPassages", request, retrieval_pb2.UpsertPassagesResponse
    )

    assert (answer.inserted, answer.updated, answer.removed) == (1, 1, 4)
    assert [each.id for each in (await list_page(wire)).passages] == ["p004", "p005"]


async def test_a_passage_of_no_document_replaces_none(wire: Wire) -> None:
    await upsert(wire, [passage(1)])
    request = retrieval_pb2.UpsertPassagesRequest(
        collection="docs", passages=[passage(2)], replace_documents=True
    )

    outcome = await wire.call(SERVICE + "UpsertPassages", request)

    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (outcome.reason, outcome.fields) == ("EMPTY_FIELD", ["passages[0].document_id"])
    assert [each.id for each in (await list_page(wire)).passages] == ["p001"]


async def test_a_bulk_load_replaces_documents_batch_by_batch(wire: Wire) -> None:
    await upsert(wire, [passage(n, document_id="d" if n < 4 else "e") for n in range(8)])
    stream = wire.stream(SERVICE + "StreamUpsertPassages")
    message = retrieval_pb2.StreamUpsertPassagesRequest
    for batch in (
        message(collection="docs", passages=[passage(0, document_id="d")], replace_documents=True),
        message(passages=[passage(1, document_id="d")]),
        message(passages=[passage(9)], replace_documents=True),
        message(passages=[passage(8, document_id="e")], replace_documents=True),
    ):
        await stream.write(batch.SerializeToString())
    await stream.done_writing()

    answers = await answers_of(stream, 4)

    counts = [(each.inserted, each.updated, each.removed) for each in answers]
    assert counts == [(0, 1, 3), (1, 0, 0), (0, 0, 0), (1, 0, 4)]
    assert answers[2].failure.field == "passages[0].document_id"
    ids = [each.id for each in (await list_page(wire)).passages]
    assert ids == ["p000", "p001", "p008"]


@pytest.mark.parametrize(
    ("passages", "reason", "field"),
    [
        ([], "EMPTY_FIELD", "passages"),
        ([passage(1), passage(1)], "DUPLICATE_ID", "passages[1].id"),
        ([passage(1), passage(2, id="")], "EMPTY_FIELD", "passages[1].id"),
        ([passage(1, text=" ")], "EMPTY_FIELD", "passages[0].text"),
        ([passage(1)] * 201, "BATCH_TOO_LARGE", "passages"),
        (
            [passage(1), passage(2, embedding=passages_pb2.Embedding(values=[1.0]))],
            "INVALID_FIELD",
            "passages[1].embedding",
        ),
        (
            [passage(1, embedding=passages_pb2.Embedding(values=[1.0, 0, float("nan"), 0]))],
            "INVALID_FIELD",
            "passages[0].embedding",
        ),
        (
            [passage(1, embedding=passages_pb2.Embedding(values=[0.0] * 4))],
            "INVALID_FIELD",
            "passages[0].embedding",
        ),
    ],
)
async def test_a_batch_with_one_bad_passage_is_refused_whole(
    wire: Wire, passages: list[passages_pb2.Passage], reason: str, field: str
) -> None:
    outcome = await upsert(wire, passages)
    listed = await list_page(wire)

    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.reason == reason
    assert [each.partition(".values")[0] for each in outcome.fields] == [field]
    assert not listed.passages


async def list_page(wire: Wire, **fields: Any) -> retrieval_pb2.ListPassagesResponse:
    request = retrieval_pb2.ListPassagesRequest(collection="docs", **fields)
    return await wire.ask(SERVICE + "ListPassages", request, retrieval_pb2.ListPassagesResponse)


async def test_passages_are_listed_by_id_page_by_page(wire: Wire) -> None:
    await upsert(wire, [passage(number) for number in reversed(range(25))])

    ids: list[str] = []
    sizes: list[int] = []
    token = ""
    while token or not sizes:
        page = await list_page(wire, page_size=8, page_token=token, filter=even())
        ids += [each.id for each in page.passages]
        sizes.append(len(page.passages))
        token = page.next_page_token

    assert ids == [f"p{number:03}" for number in range(0, 25, 2)]
    assert sizes == [8, 5]


async def test_a_page_is_never_larger_than_the_servers_limit(wire: Wire) -> None:
    await upsert(wire, [passage(number) for number in range(60)])

    page = await list_page(wire, page_size=1_000_000)

    assert len(page.passages) == LIMITS.max_page_size


async def test_a_page_ends_before_3_mib_whatever_its_metadata_weighs(serve: Serve) -> None:
    # A number in metadata takes some 3 bytes as JSON and 11 on the wire.
    numbers = {"n": [1] * 5_900}
    async with serve(max_request_bytes=16 * 1024 * 1024) as wire:
        await create(wire, "docs")
        await upsert(wire, [passage(number, metadata=numbers) for number in range(60)])
        sizes: list[int] = []
        ids: list[str] = []
        token = ""
        while token or not sizes:
            page = await list_page(wire, page_token=token)
            ids += [each.id for each in page.passages]
            sizes.append(page.ByteSize())
            token = page.next_page_token

    assert ids == [f"p{number:03}" for number in range(60)]
    assert len(sizes) > 1
    assert max(sizes) <= 3 * 1024 * 1024 + 100


async def test_a_page_token_is_good_for_its_own_listing_alone(wire: Wire) -> None:
    await create(wire, "other")
    await upsert(wire, [passage(number) for number in range(5)])
    token = (await list_page(wire, page_size=2, filter=even())).next_page_token

    async def refusal(**fields: Any) -> str:
        request = retrieval_pb2.ListPassagesRequest(
            **{"collection": "docs", "page_token": token, **fields}
        )
        return (await wire.call(SERVICE + "ListPassages", request)).reason

    assert await refusal() == "BAD_PAGE_TOKEN"
    assert await refusal(filter=even(), view=passages_pb2.PASSAGE_VIEW_ID) == "BAD_PAGE_TOKEN"
    assert await refusal(filter=even(), collection="other") == "BAD_PAGE_TOKEN"
    assert await refusal(filter=even(), page_token="x") == "BAD_PAGE_TOKEN"
    assert await refusal(filter=even(), page_size=1) == ""


async def test_passages_are_deleted_by_ids_or_by_filter(wire: Wire) -> None:
    await upsert(wire, [passage(number) for number in range(10)])

    async def delete(**fields: Any) -> Outcome:
        request = retrieval_pb2.DeletePassagesRequest(collection="docs", **fields)
        return await wire.call(SERVICE + "DeletePassages", request)

    def deleted(outcome: Outcome) -> int:
        return retrieval_pb2.DeletePassagesResponse.FromString(outcome.answer).deleted

    assert deleted(await delete(ids=["p001", "gone"])) == 1
    assert deleted(await delete(filter=even())) == 5
    neither = await delete()
    both = await delete(ids=["p003"], filter=even())
    nothing = await delete(filter=passages_pb2.Filter())

    assert neither.code is both.code is nothing.code is grpc.StatusCode.INVALID_ARGUMENT
    assert neither.fields == both.fields == ["ids"]
    assert len((await list_page(wire)).passages) == 4


async def retrieve(wire: Wire, **fields: Any) -> retrieval_pb2.RetrieveResponse:
    request = retrieval_pb2.RetrieveRequest(collection="docs", **fields)
    return await wire.ask(SERVICE + "Retrieve", request, retrieval_pb2.RetrieveResponse)


async def test_hits_come_best_first_with_rank_and_score(wire: Wire) -> None:
    await upsert(wire, [passage(number) for number in range(30)])

    default = await retrieve(wire, embedding=vector(7))
    three = await retrieve(wire, embedding=vector(7), top_k=3, options={"exact": True})
    filtered = await retrieve(wire, embedding=vector(7), top_k=2, filter=even())
    all_there_are = await retrieve(wire, embedding=vector(7), top_k=1000)

    assert len(default.hits) == 10
    assert three.hits[0].passage.id == "p007"
    assert [(hit.rank, hit.retrieval_rank) for hit in three.hits] == [(1, 1), (2, 2), (3, 3)]
    scores = [hit.retrieval_score for hit in three.hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1, abs=1e-5)
    assert three.hits[0].passage.text == "text 7"
    assert not three.hits[0].HasField("score")
    assert {hit.passage.id for hit in filtered.hits} == {"p006", "p008"}
    assert len(all_there_are.hits) == 30
    assert default.timings.total_us >= default.timings.retrieve_us > 0


LEXICAL = {"mode": "RETRIEVAL_MODE_LEXICAL"}
HYBRID = {"mode": "RETRIEVAL_MODE_HYBRID"}


def found(answer: retrieval_pb2.RetrieveResponse | retrieval_pb2.HitList) -> list[str]:
    return [hit.passage.id for hit in answer.hits]


async def test_words_find_passages_where_no_model_is(wire: Wire) -> None:
    await upsert(
        wire,
        [
            passage(1, text="a coarse sieve"),
            passage(2, title="SIEVES", text="which are fine"),
            passage(3, text="something else"),
        ],
    )

    answer = await retrieve(wire, text='fine "sieve" AND', options=LEXICAL)
    words = await retrieve(wire, text="else", words="coarse", options=LEXICAL)
    filtered = await retrieve(wire, text="sieve", filter=even(), options=LEXICAL)

    assert found(answer) == ["p002", "p001"]
    assert answer.hits[0].retrieval_score > answer.hits[1].retrieval_score > 0
    assert found(words) == ["p001"], "words go before the text"
    assert found(filtered) == ["p002"]
    assert found(await retrieve(wire, text='"', options=LEXICAL)) == []


async def test_hybrid_fuses_neighbours_and_words_by_reciprocal_rank(wire: Wire) -> None:
    await upsert(wire, [passage(number, text=f"number{number}") for number in range(30)])

    answer = await retrieve(
        wire, embedding=vector(7), words="number9 number25", top_k=3, options=HYBRID
    )

    # p009 is second or third by embedding and first or second by words.
    assert found(answer)[0] == "p009"
    assert set(found(answer)) >= {"p007", "p009"}
    assert answer.hits[0].retrieval_score == pytest.approx(1 / 61 + 1 / 64, abs=1e-3)


async def test_each_query_of_a_batch_has_its_own_words(wire: Wire) -> None:
    await upsert(wire, [passage(number, text=f"number{number}") for number in range(30)])
    request = retrieval_pb2.BatchRetrieveRequest(
        collection="docs",
        queries=[
            retrieval_pb2.RetrievalQuery(embedding=vector(1), words="number4"),
            retrieval_pb2.RetrievalQuery(text="number5 number6"),
        ],
        options=LEXICAL,
    )

    answer = await wire.ask(SERVICE + "BatchRetrieve", request, retrieval_pb2.BatchRetrieveResponse)

    assert [found(each) for each in answer.results] == [["p004"], ["p005", "p006"]]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"embedding": vector(1)}, grpc.StatusCode.INVALID_ARGUMENT, "words"),
        ({"embedding": vector(1), "words": "  "}, grpc.StatusCode.INVALID_ARGUMENT, "words"),
        ({"embedding": vector(1), "words": "w" * 8193}, grpc.StatusCode.INVALID_ARGUMENT, "words"),
        ({"text": "\x00 " * 500_000}, grpc.StatusCode.INVALID_ARGUMENT, "text"),
        ({"text": " "}, grpc.StatusCode.INVALID_ARGUMENT, "text"),
    ],
)
@pytest.mark.parametrize("options", [LEXICAL, HYBRID])
async def test_words_that_cannot_be_are_refused_by_their_field(
    wire: Wire,
    fields: dict[str, Any],
    code: grpc.StatusCode,
    field: str,
    options: dict[str, str],
) -> None:
    request = retrieval_pb2.RetrieveRequest(collection="docs", options=options, **fields)

    outcome = await wire.call(SERVICE + "Retrieve", request)

    assert (outcome.code, outcome.fields) == (code, [field])


async def test_a_batch_is_answered_in_its_order(wire: Wire) -> None:
    await upsert(wire, [passage(number) for number in range(30)])
    request = retrieval_pb2.BatchRetrieveRequest(
        collection="docs",
        queries=[retrieval_pb2.RetrievalQuery(embedding=vector(n)) for n in (20, 3, 11)],
        top_k=1,
        view=passages_pb2.PASSAGE_VIEW_ID,
    )

    answer = await wire.ask(SERVICE + "BatchRetrieve", request, retrieval_pb2.BatchRetrieveResponse)

    best = [[hit.passage for hit in result.hits] for result in answer.results]
    assert best == [[passages_pb2.Passage(id=f"p{n:03}")] for n in (20, 3, 11)]


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "EMPTY_FIELD", "query"),
        ({"embedding": vector(1), "top_k": 1001}, "INVALID_FIELD", "top_k"),
        ({"embedding": vector(1), "view": 4}, "INVALID_FIELD", "view"),
        (
            {"embedding": vector(1), "options": {"ef_search": 9}},
            "INVALID_FIELD",
            "options.ef_search",
        ),
        ({"embedding": {"values": [1.0]}}, "INVALID_FIELD", "embedding"),
        ({"embedding": {"values": [1.0, 2, 3, float("inf")]}}, "INVALID_FIELD", "embedding"),
        ({"embedding": {}}, "INVALID_FIELD", "embedding"),
    ],
)
async def test_a_query_out_of_range_is_refused_by_its_field(
    wire: Wire, fields: dict[str, Any], reason: str, field: str
) -> None:
    request = retrieval_pb2.RetrieveRequest(collection="docs", **fields)

    outcome = await wire.call(SERVICE + "Retrieve", request)

    assert outcome.reason == reason
    assert [each.partition(".values")[0] for each in outcome.fields] == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"text": " "}, "text"),
        ({"text": "x" * 9_000}, "text"),
        ({"embedding": {"values": [1.0]}}, "embedding"),
        ({"embedding": {"values": [1.0, 2, 3, float("inf")]}}, "embedding"),
        ({"embedding": {"values": [0.0] * 4}}, "embedding"),
    ],
)
@pytest.mark.parametrize("before", [0, 1])
async def test_a_bad_query_of_a_batch_is_refused_by_its_place_also_alone(
    wire: Wire, before: int, query: dict[str, Any], field: str
) -> None:
    request = retrieval_pb2.BatchRetrieveRequest(
        collection="docs", queries=[*[{"embedding": vector(1)}] * before, query]
    )

    outcome = await wire.call(SERVICE + "BatchRetrieve", request)

    assert outcome.fields == [f"queries[{before}].{field}"]


async def test_a_batch_that_cannot_be_answered_is_refused_before_any_search(serve: Serve) -> None:
    async with serve(max_request_bytes=16 * 1024 * 1024) as wire:
        await create(wire, "docs")
        for start in range(0, 400, 200):
            await upsert(wire, [passage(number) for number in range(start, start + 200)])
        queries = [retrieval_pb2.RetrievalQuery(embedding=vector(1))] * 1_000

        async def ask(**fields: Any) -> Outcome:
            request = retrieval_pb2.BatchRetrieveRequest(
                collection="docs",
                queries=queries,
                **{"top_k": 1_000, **fields},
            )
            return await wire.call(SERVICE + "BatchRetrieve", request)

        with capture_logs() as logs:
            hopeless = await ask()
            filtered = await ask(filter=even())
            narrow = await ask(top_k=10)
        lines = [line for line in logs if line["event"] == "call"]

    assert hopeless.reason == filtered.reason == "ANSWER_TOO_LARGE"
    assert [line["retrieve_us"] > 0 for line in lines] == [False, True, True]
    assert narrow.ok


async def test_more_asked_for_than_is_there_is_no_reason_to_refuse_a_batch(wire: Wire) -> None:
    await upsert(wire, [passage(number) for number in range(3)])
    request = retrieval_pb2.BatchRetrieveRequest(
        collection="docs",
        queries=[retrieval_pb2.RetrievalQuery(embedding=vector(1))] * 1_000,
        top_k=1_000,
    )

    answer = await wire.ask(SERVICE + "BatchRetrieve", request, retrieval_pb2.BatchRetrieveResponse)

    assert {len(result.hits) for result in answer.results} == {3}


async def test_a_text_query_needs_a_model(wire: Wire) -> None:
    request = retrieval_pb2.RetrieveRequest(collection="docs", text="q")

    outcome = await wire.call(SERVICE + "Retrieve", request)

    assert outcome.code is grpc.StatusCode.FAILED_PRECONDITION


async def answers_of(stream: Any, count: int) -> list[retrieval_pb2.StreamUpsertPassagesResponse]:
    return [
        retrieval_pb2.StreamUpsertPassagesResponse.FromString(await stream.read())
        for _ in range(count)
    ]


async def test_a_bulk_load_answers_each_batch_and_goes_on_after_a_bad_one(wire: Wire) -> None:
    stream = wire.stream(SERVICE + "StreamUpsertPassages")
    message = retrieval_pb2.StreamUpsertPassagesRequest
    batches = [
        message(collection="docs", passages=[passage(1), passage(2)]),
        message(passages=[passage(2), passage(3)]),
        message(passages=[passage(4), passage(4)]),
        message(collection="elsewhere", passages=[passage(5)]),
        message(),
        message(collection="docs", passages=[passage(6)]),
    ]
    for batch in batches:
        await stream.write(batch.SerializeToString())
    await stream.done_writing()

    answers = await answers_of(stream, 6)
    ended = await end_of(stream)

    assert [each.batch for each in answers] == [0, 1, 2, 3, 4, 5]
    assert [(each.inserted, each.updated) for each in answers] == [
        (2, 0),
        (1, 1),
        (0, 0),
        (0, 0),
        (0, 0),
        (1, 0),
    ]
    failures = [(each.failure.reason, each.failure.field) for each in answers[2:5]]
    assert failures == [
        ("DUPLICATE_ID", "passages[1].id"),
        ("INVALID_FIELD", "collection"),
        ("EMPTY_FIELD", "passages"),
    ]
    assert ended.ok
    assert [each.id for each in (await list_page(wire)).passages] == [
        "p001",
        "p002",
        "p003",
        "p006",
    ]


async def test_a_bulk_load_into_nothing_says_so_batch_by_batch(wire: Wire) -> None:
    stream = wire.stream(SERVICE + "StreamUpsertPassages")
    message = retrieval_pb2.StreamUpsertPassagesRequest
    await stream.write(message(passages=[passage(1)]).SerializeToString())
    await stream.write(message(collection="gone", passages=[passage(1)]).SerializeToString())
    await stream.done_writing()

    unnamed, gone = await answers_of(stream, 2)
    ended = await end_of(stream)

    assert (unnamed.failure.reason, unnamed.failure.field) == ("EMPTY_FIELD", "collection")
    assert gone.failure.reason == "COLLECTION_NOT_FOUND"
    assert ended.ok


class SlowFirst:
    """Stores batches when the test says so, and remembers in which order they came."""

    def __init__(self) -> None:
        self.stored: list[list[str]] = []
        self.first = asyncio.Event()

    async def upsert(
        self,
        collection: str,
        passages: Sequence[Passage],
        call: Call,
        *,
        replace_documents: bool = False,
    ) -> Upserted:
        if passages[0].text == "first":
            await self.first.wait()
        self.stored.append([each.text for each in passages])
        return Upserted(len(passages), 0)


def loading_into(ingester: Any) -> Loading:
    visit = Visit("rpc", "r-1", 0.0, None, default_deadline_s=30)
    return Loading(ingester, LIMITS, visit)


def batch_of(
    id: str, text: str, document_id: str = "", *, replace: bool = False
) -> retrieval_pb2.StreamUpsertPassagesRequest:
    passages = [passages_pb2.Passage(id=id, text=text, document_id=document_id)]
    return retrieval_pb2.StreamUpsertPassagesRequest(
        collection="docs", passages=passages, replace_documents=replace
    )


async def test_a_batch_that_shares_an_id_waits_for_the_one_before() -> None:
    ingester = SlowFirst()
    loading = loading_into(ingester)

    first = asyncio.create_task(loading.load(batch_of("a", "first")))
    second = asyncio.create_task(loading.load(batch_of("a", "second")))
    other = asyncio.create_task(loading.load(batch_of("b", "other")))
    await other
    before = list(ingester.stored)
    ingester.first.set()
    await asyncio.gather(first, second)

    assert before == [["other"]]
    assert ingester.stored == [["other"], ["first"], ["second"]]


@pytest.mark.parametrize("replacing", ["first", "second"])
async def test_a_batch_that_replaces_a_document_of_the_one_before_waits_for_it(
    replacing: str,
) -> None:
    ingester = SlowFirst()
    loading = loading_into(ingester)

    first = asyncio.create_task(
        loading.load(batch_of("a", "first", "doc", replace=replacing == "first"))
    )
    second = asyncio.create_task(
        loading.load(batch_of("b", "second", "doc", replace=replacing == "second"))
    )
    other = asyncio.create_task(loading.load(batch_of("c", "other", "elsewhere", replace=True)))
    await other
    before = list(ingester.stored)
    ingester.first.set()
    await asyncio.gather(first, second)

    assert before == [["other"]]
    assert ingester.stored == [["other"], ["first"], ["second"]]


async def test_parts_of_one_document_that_nothing_replaces_do_not_wait() -> None:
    ingester = SlowFirst()
    loading = loading_into(ingester)

    first = asyncio.create_task(loading.load(batch_of("a", "first", "doc")))
    await loading.load(batch_of("b", "second", "doc"))
    before = list(ingester.stored)
    ingester.first.set()
    await first

    assert before == [["second"]]


async def test_a_batch_that_takes_long_to_read_is_not_overtaken() -> None:
    ingester = SlowFirst()
    ingester.first.set()
    loading = loading_into(ingester)
    long = batch_of("a", "first")
    for number in range(LIMITS.max_passages - 1):
        long.passages.add(id=str(number), text="first", metadata={"n": [1] * 5_000})

    first = asyncio.create_task(loading.load(long))
    second = asyncio.create_task(loading.load(batch_of("a", "second")))
    await asyncio.gather(first, second)

    assert [texts[0] for texts in ingester.stored] == ["first", "second"]
