"""Ids, names and models that are not there, or cannot be: what they get."""

from pathlib import Path

import grpc
import pytest

from finesieve.v1 import (
    embedding_pb2,
    models_pb2,
    passages_pb2,
    rerank_pb2,
    retrieval_pb2,
    search_pb2,
)
from tests.conftest import StartServer
from tests.e2e.requests import (
    COLLECTION,
    CREATE,
    DELETE,
    EMBED,
    GET_COLLECTION,
    LIST,
    MODELS,
    RERANK,
    RETRIEVE,
    SEARCH,
    STREAM_RERANK,
    TEXTS,
    UPSERT,
    assert_invalid,
    passage_count,
    rerank,
)
from tests.server.rpc.wire import Wire, end_of

pytestmark = pytest.mark.usefixtures("alive")


@pytest.mark.parametrize("id", ["", "x" * 257, "a\x00b", "new\nline", "\x7f"])
async def test_a_bad_passage_id_is_refused_by_its_position(
    filled: None, wire: Wire, id: str
) -> None:
    passages = [passages_pb2.Passage(id="new", text="a"), passages_pb2.Passage(id=id, text="b")]
    request = retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=passages)

    outcome = await wire.call(UPSERT, request)

    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.fields == ["passages[1].id"]
    assert await passage_count(wire) == len(TEXTS)


async def test_one_id_twice_in_a_batch_is_a_duplicate(filled: None, wire: Wire) -> None:
    passages = [passages_pb2.Passage(id=name, text="a") for name in ("x", "y", "x")]
    request = retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=passages)

    outcome = await wire.call(UPSERT, request)

    assert_invalid(outcome, "DUPLICATE_ID", "passages[2].id")
    assert await passage_count(wire) == len(TEXTS)


async def test_collections_that_are_not_there_are_there_already_or_cannot_be(
    filled: None, wire: Wire
) -> None:
    create = retrieval_pb2.CreateCollectionRequest
    gone = "no-such-collection"
    for path, request in (
        (GET_COLLECTION, retrieval_pb2.GetCollectionRequest(name=gone)),
        (RETRIEVE, retrieval_pb2.RetrieveRequest(collection=gone, text="q")),
        (SEARCH, search_pb2.SearchRequest(collection=gone, query="q")),
        (LIST, retrieval_pb2.ListPassagesRequest(collection=gone)),
        (DELETE, retrieval_pb2.DeletePassagesRequest(collection=gone, ids=["a"])),
    ):
        outcome = await wire.call(path, request)
        assert outcome.code is grpc.StatusCode.NOT_FOUND
        assert outcome.reason == "COLLECTION_NOT_FOUND"
        assert outcome.detail("ErrorInfo").metadata["collection"] == gone
    again = await wire.call(CREATE, create(name=COLLECTION))
    bad = await wire.call(CREATE, create(name="../etc"))

    assert (again.code, again.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert_invalid(bad, "INVALID_FIELD", "name")


async def test_models_that_are_not_there_or_of_the_wrong_kind(wire: Wire) -> None:
    listed = await wire.ask(MODELS, models_pb2.ListModelsRequest(), models_pb2.ListModelsResponse)
    names = {model.kind: model.name for model in listed.models}
    bi_encoder = names[models_pb2.MODEL_KIND_BI_ENCODER]
    cross_encoder = names[models_pb2.MODEL_KIND_CROSS_ENCODER]
    create = retrieval_pb2.CreateCollectionRequest

    unknown = [
        await wire.call(RERANK, rerank("q", "a", options={"model": "nobody"})),
        await wire.call(EMBED, embedding_pb2.EmbedRequest(texts=["a"], model="nobody")),
        await wire.call(CREATE, create(name="new", embedding_model="nobody")),
    ]
    wrong = [
        await wire.call(RERANK, rerank("q", "a", options={"model": bi_encoder})),
        await wire.call(EMBED, embedding_pb2.EmbedRequest(texts=["a"], model=cross_encoder)),
        await wire.call(CREATE, create(name="new", embedding_model=cross_encoder)),
    ]

    assert {each.code for each in unknown} == {grpc.StatusCode.NOT_FOUND}
    assert {each.reason for each in unknown} == {"MODEL_NOT_FOUND"}
    assert {each.code for each in wrong} == {grpc.StatusCode.FAILED_PRECONDITION}


async def test_a_collection_whose_model_is_not_here_takes_no_texts(
    start_server: StartServer, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    passage = passages_pb2.Passage(id="a", text="a text")
    upsert = retrieval_pb2.UpsertPassagesRequest(collection="docs", passages=[passage])
    retrieve = retrieval_pb2.RetrieveRequest(collection="docs", text="q")
    with_models = start_server(data_dir=data_dir)
    async with Wire(with_models.address) as wire:
        create = retrieval_pb2.CreateCollectionRequest(name="docs")
        await wire.ask(CREATE, create, retrieval_pb2.CreateCollectionResponse)
        await wire.ask(UPSERT, upsert, retrieval_pb2.UpsertPassagesResponse)
        embedding = await wire.ask(
            EMBED, embedding_pb2.EmbedRequest(texts=["a text"]), embedding_pb2.EmbedResponse
        )
    with_models.stop()

    without_models = start_server("--models", "none", data_dir=data_dir)
    async with Wire(without_models.address) as wire:
        by_text = await wire.call(RETRIEVE, retrieve)
        stored = await wire.call(UPSERT, upsert)
        retrieve.embedding.CopyFrom(embedding.embeddings[0])
        by_embedding = await wire.ask(RETRIEVE, retrieve, retrieval_pb2.RetrieveResponse)

    assert by_text.code is stored.code is grpc.StatusCode.FAILED_PRECONDITION
    assert by_embedding.hits[0].passage.id == "a"


async def test_a_stream_goes_on_after_every_kind_of_bad_request(wire: Wire) -> None:
    bad = [
        rerank("", "a"),
        rerank("q"),
        rerank("q" * 9_000, "a"),
        rerank("q", "a", options={"model": "nobody"}),
        rerank("q", *["a"] * 1_001),
        rerank("q", "a", options={"instruction": "x"}),
    ]
    stream = wire.stream(STREAM_RERANK)
    for at, request in enumerate([*bad, rerank("eels", *TEXTS)]):
        message = rerank_pb2.StreamRerankRequest(request_id=str(at), request=request)
        await stream.write(message.SerializeToString())
    await stream.done_writing()
    answers = [
        rerank_pb2.StreamRerankResponse.FromString(await stream.read()) for _ in range(len(bad) + 1)
    ]
    ended = await end_of(stream)

    reasons = {each.request_id: each.failure.reason for each in answers}
    assert reasons == {
        "0": "EMPTY_FIELD",
        "1": "EMPTY_FIELD",
        "2": "TOO_LONG",
        "3": "MODEL_NOT_FOUND",
        "4": "BATCH_TOO_LARGE",
        "5": "INVALID_FIELD",
        "6": "",
    }
    assert ended.ok
