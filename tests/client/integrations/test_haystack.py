from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.core.errors import PipelineRuntimeError

from finesieve_client import AsyncClient, Client, NotFound
from finesieve_client.integrations.haystack import FinesieveRanker, FinesieveRetriever
from tests.client.integrations.animals import ANIMALS, COLLECTION

QUESTION = "How do bats find insects?"


def documents(score: float | None = None) -> list[Document]:
    return [
        Document(id=name, content=text, meta={"at": at}, score=score)
        for at, (name, text) in enumerate(ANIMALS.items())
    ]


def test_a_document_is_the_passage_with_its_scores(client: Client) -> None:
    retriever = FinesieveRetriever(client, collection=COLLECTION, options={"top_n": 2})

    first, second = retriever.run(query=QUESTION)["documents"]

    assert (first.id, first.content) == ("bat", ANIMALS["bat"])
    assert (first.meta["title"], first.meta["finesieve"]["rank"]) == ("Bat", 1)
    assert first.score == first.meta["finesieve"]["probability"]
    assert first.meta["finesieve"]["probability"] > 0.9 > second.meta["finesieve"]["probability"]
    assert len(retriever.run(query=QUESTION, top_k=1)["documents"]) == 1


def test_both_components_work_in_a_pipeline(client: Client) -> None:
    pipeline = Pipeline()
    pipeline.add_component("retriever", FinesieveRetriever(client, collection=COLLECTION))
    pipeline.add_component("ranker", FinesieveRanker(client, options={"top_n": 1}))
    pipeline.connect("retriever.documents", "ranker.documents")

    answer = pipeline.run({"retriever": {"query": QUESTION}, "ranker": {"query": QUESTION}})

    assert [document.id for document in answer["ranker"]["documents"]] == ["bat"]


def test_the_ranker_leaves_the_given_as_they_are(client: Client) -> None:
    given = documents()

    kept = FinesieveRanker(client).run(query=QUESTION, documents=given, top_k=2)["documents"]

    assert (kept[0].id, kept[0].meta["at"], len(kept)) == ("bat", 2, 2)
    assert kept[0].score == kept[0].meta["finesieve"]["probability"] > 0.9
    assert (given[2].score, given[2].meta) == (None, {"at": 2})


def test_a_document_without_text_fails_alone(client: Client) -> None:
    given = [Document(id="image"), documents()[2]]

    scored, failed = FinesieveRanker(client).run(query=QUESTION, documents=given)["documents"]

    assert (scored.id, failed.id) == ("bat", "image")
    assert (failed.score, failed.meta["finesieve"]["status"]) == (None, "failed")


async def test_asyncio_through_an_async_client_or_a_thread(
    client: Client, async_client: AsyncClient
) -> None:
    alone = FinesieveRetriever(async_client=async_client, collection=COLLECTION)
    in_a_thread = FinesieveRetriever(client, collection=COLLECTION)
    ranker = FinesieveRanker(async_client=async_client)

    found = await alone.run_async(query=QUESTION)

    assert found == await in_a_thread.run_async(query=QUESTION)
    ranked = await ranker.run_async(query=QUESTION, documents=documents())
    assert ranked["documents"][0].id == "bat"
    assert await ranker.run_async(query=QUESTION, documents=[]) == {"documents": []}
    with pytest.raises(ValueError, match="without await needs a client"):
        alone.run(query=QUESTION)


def test_former_scores_count_where_a_weight_is_given(client: Client) -> None:
    given = documents(0.1)
    given[0] = Document(id="whale", content=ANIMALS["whale"], score=100.0)
    ranker = FinesieveRanker(client, options={"first_stage_weight": 1.0})

    assert ranker.run(query=QUESTION, documents=given)["documents"][0].id == "whale"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"client": None}, "client is missing"),
        ({"client": "localhost:50051"}, "client is a str, not a Client"),
        ({"collection": ""}, "collection is empty"),
        ({"options": {"modus": "hybrid"}}, "did you mean 'mode'"),
        ({"options": {"mode": "words"}}, "allowed: dense, lexical, hybrid"),
        ({"options": ["top_n"]}, "a mapping is needed"),
    ],
    ids=str,
)
def test_a_retriever_that_cannot_work_is_a_value_error(
    client: Client, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        FinesieveRetriever(**{"client": client, "collection": COLLECTION, **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"query": ""}, "query"),
        ({"query": 3}, "query is a int"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": "3"}, "top_k is '3'"),
    ],
    ids=str,
)
def test_a_run_that_cannot_work_is_a_value_error(
    client: Client, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        FinesieveRetriever(client, collection=COLLECTION).run(**{"query": QUESTION, **given})
    with pytest.raises(ValueError, match=said):
        FinesieveRanker(client).run(**{"query": QUESTION, "documents": documents(), **given})


def test_a_pipeline_gives_the_servers_error_as_the_cause(client: Client) -> None:
    pipeline = Pipeline()
    pipeline.add_component("retriever", FinesieveRetriever(client, collection="nowhere"))

    with pytest.raises(PipelineRuntimeError, match="retriever") as raised:
        pipeline.run({"retriever": {"query": QUESTION}})

    assert isinstance(raised.value.__cause__, NotFound)


async def test_both_components_work_in_a_pipeline_with_asyncio(
    client: Client, async_client: AsyncClient
) -> None:
    pipeline = Pipeline()
    pipeline.add_component(
        "retriever", FinesieveRetriever(async_client=async_client, collection=COLLECTION)
    )
    pipeline.add_component("ranker", FinesieveRanker(client))
    pipeline.connect("retriever.documents", "ranker.documents")

    answer = await pipeline.run_async(
        {"retriever": {"query": QUESTION}, "ranker": {"query": QUESTION, "top_k": 1}}
    )

    assert [document.id for document in answer["ranker"]["documents"]] == ["bat"]
