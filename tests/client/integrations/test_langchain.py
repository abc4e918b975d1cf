from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import ValidationError

from finesieve_client import AsyncClient, Client, NotFound, Unavailable, field
from finesieve_client.integrations.langchain import FinesieveCompressor, FinesieveRetriever
from tests.client.integrations.animals import ANIMALS, COLLECTION

QUESTION = "How do bats find insects?"
DOCUMENTS = [
    Document(id=name, page_content=text, metadata={"at": at})
    for at, (name, text) in enumerate(ANIMALS.items())
]


def ids_of(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


def test_a_document_is_the_passage_with_its_scores(client: Client) -> None:
    retriever = FinesieveRetriever(client=client, collection=COLLECTION, options={"top_n": 2})

    first, second = retriever.invoke(QUESTION)

    assert (first.id, first.page_content) == ("bat", ANIMALS["bat"])
    assert first.metadata["title"] == "Bat"
    assert first.metadata["document_id"] == "animals"
    assert first.metadata["legs"] == 0
    said = first.metadata["finesieve"]
    assert (said["id"], said["rank"], said["status"]) == ("bat", 1, "scored")
    assert said["probability"] > 0.9 > second.metadata["finesieve"]["probability"]
    assert said["retrieval_rank"] == 1
    assert said["passage_span"] == (0, len(ANIMALS["bat"]))


def test_all_options_of_a_search_hold(client: Client) -> None:
    retriever = FinesieveRetriever(
        client=client,
        collection=COLLECTION,
        options={"filter": field("legs") == 6, "mode": "hybrid", "window": 1},
    )

    (found,) = retriever.invoke(QUESTION)

    assert found.page_content == "\n".join(ANIMALS[name] for name in ("whale", "bee", "bat"))
    start, end = found.metadata["finesieve"]["passage_span"]
    assert found.page_content[start:end] == ANIMALS["bee"]


def test_the_best_span_counts_in_the_documents_text(client: Client) -> None:
    options: Any = {"top_n": 1, "window": 1, "long_passage": "chunk", "max_passage_tokens": 12}
    retriever = FinesieveRetriever(client=client, collection=COLLECTION, options=options)

    (found,) = retriever.invoke(QUESTION)

    start, end = found.metadata["finesieve"]["best_span"]
    assert "find insects" in found.page_content[start:end]
    assert found.page_content[start:end] in ANIMALS["bat"]


async def test_asyncio_through_an_async_client_or_a_thread(
    client: Client, async_client: AsyncClient
) -> None:
    alone = FinesieveRetriever(async_client=async_client, collection=COLLECTION)
    in_a_thread = FinesieveRetriever(client=client, collection=COLLECTION)

    assert await alone.ainvoke(QUESTION) == await in_a_thread.ainvoke(QUESTION)
    with pytest.raises(ValueError, match="without await needs a client"):
        alone.invoke(QUESTION)


def test_options_are_a_configurable_field_and_the_retriever_a_runnable(client: Client) -> None:
    retriever = FinesieveRetriever(client=client, collection=COLLECTION).configurable_fields(
        options=ConfigurableField(id="options")
    )
    chain = retriever | RunnableLambda(ids_of)

    assert chain.with_config(configurable={"options": {"top_n": 1}}).invoke(QUESTION) == ["bat"]


def test_the_compressor_puts_the_best_first_and_leaves_the_given_as_they_are(
    client: Client,
) -> None:
    compressor = FinesieveCompressor(client=client, options={"top_n": 2})

    kept = compressor.compress_documents(DOCUMENTS, QUESTION)

    assert len(kept) == 2
    assert (kept[0].id, kept[0].metadata["at"]) == ("bat", 2)
    assert kept[0].metadata["finesieve"]["rank"] == 1
    assert kept[0].metadata["finesieve"]["probability"] > 0.9
    assert "finesieve" not in DOCUMENTS[2].metadata
    assert compressor.compress_documents([], QUESTION) == []


async def test_the_compressor_with_asyncio(client: Client, async_client: AsyncClient) -> None:
    alone = FinesieveCompressor(async_client=async_client)

    kept = await alone.acompress_documents(DOCUMENTS, QUESTION)

    assert kept == FinesieveCompressor(client=client).compress_documents(DOCUMENTS, QUESTION)
    assert await alone.acompress_documents([], QUESTION) == []


def test_one_document_without_text_fails_alone(client: Client) -> None:
    documents = [Document(page_content=""), DOCUMENTS[2]]

    scored, failed = FinesieveCompressor(client=client).compress_documents(documents, QUESTION)

    assert scored.id == "bat"
    assert failed.metadata["finesieve"]["status"] == "failed"
    assert failed.metadata["finesieve"]["failure"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"client": None}, "client is missing"),
        ({"client": "localhost:50051"}, "instance of Client"),
        ({"async_client": 3}, "instance of AsyncClient"),
        ({"collection": ""}, "at least 1 character"),
        ({"collection": 3}, "valid string"),
        ({"colection": "docs"}, "Extra inputs"),
        ({"options": {"top": 3}}, "unexpected"),
        ({"options": {"modus": "hybrid"}}, "did you mean 'mode'"),
        ({"options": {"view": "id"}}, "unexpected option 'view'"),
        ({"options": {"collection": "docs"}}, "unexpected option 'collection'"),
        ({"options": {3: 3}}, "options"),
        ({"options": {"mode": "words"}}, "allowed: dense, lexical, hybrid"),
        ({"options": {"top_n": -1}}, "top_n is -1"),
        ({"options": {"top_n": "3"}}, "options"),
        ({"options": {"filter": "legs=6"}}, "options"),
        ({"options": ["top_n"]}, "a mapping is needed"),
    ],
    ids=str,
)
def test_a_retriever_that_cannot_work_is_a_validation_error(
    client: Client, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        FinesieveRetriever(**{"client": client, "collection": COLLECTION, **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"client": None}, "client is missing"),
        ({"options": {"long_pasage": "chunk"}}, "did you mean 'long_passage'"),
        ({"options": {"priority": "high"}}, "allowed: interactive, bulk"),
        ({"top_n": 3}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_compressor_that_cannot_work_is_a_validation_error(
    client: Client, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        FinesieveCompressor(**{"client": client, **given})


@pytest.mark.parametrize("query", ["", " ", 3, None, "\ud800"], ids=repr)
def test_a_query_that_is_none_is_a_value_error(client: Client, query: Any) -> None:
    with pytest.raises(ValueError, match=r"query|surrogate|utf-8"):
        FinesieveRetriever(client=client, collection=COLLECTION).invoke(query)
    with pytest.raises(ValueError, match=r"query|surrogate|utf-8"):
        FinesieveCompressor(client=client).compress_documents(DOCUMENTS, query)


def test_what_was_said_before_gives_way_to_what_is_said_now(client: Client) -> None:
    before = {
        "id": "bat",
        "retrieval_rank": 7,
        "rank": 7,
        "failure": "too long",
        "best_span": (0, 3),
    }
    given = Document(page_content=ANIMALS["bat"], metadata={"finesieve": before})

    (kept,) = FinesieveCompressor(client=client).compress_documents([given], QUESTION)

    said = kept.metadata["finesieve"]
    assert (said["id"], said["retrieval_rank"], said["rank"]) == ("bat", 7, 1)
    assert "failure" not in said
    assert "best_span" not in said
    assert given.metadata["finesieve"] == before


def test_options_changed_afterwards_change_nothing(client: Client) -> None:
    options: Any = {"top_n": 1}
    retriever = FinesieveRetriever(client=client, collection=COLLECTION, options=options)

    options["modus"] = "hybrid"

    assert len(retriever.invoke(QUESTION)) == 1


def test_a_blend_needs_scores_that_documents_here_do_not_have(client: Client) -> None:
    compressor = FinesieveCompressor(client=client, options={"first_stage_weight": 0.5})

    with pytest.raises(ValueError, match="not every document has a score"):
        compressor.compress_documents(DOCUMENTS, QUESTION)


def test_the_servers_other_errors_arrive_as_they_are(client: Client) -> None:
    with pytest.raises(NotFound):
        FinesieveRetriever(client=client, collection="nowhere").invoke(QUESTION)
    with Client("127.0.0.1:1", timeout_s=5) as nobody, pytest.raises(Unavailable):
        FinesieveRetriever(client=nobody, collection=COLLECTION).invoke(QUESTION)
