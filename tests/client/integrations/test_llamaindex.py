from typing import Any

import pytest
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ValidationError

from finesieve_client import AsyncClient, Client, NotFound
from finesieve_client.integrations.llamaindex import FinesievePostprocessor, FinesieveRetriever
from tests.client.integrations.animals import ANIMALS, COLLECTION

QUESTION = "How do bats find insects?"


def nodes(score: float | None = None) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=name, text=text, metadata={"at": at}), score=score)
        for at, (name, text) in enumerate(ANIMALS.items())
    ]


def test_a_node_is_the_passage_with_its_scores(client: Client) -> None:
    retriever = FinesieveRetriever(client, collection=COLLECTION, options={"top_n": 2})

    first, second = retriever.retrieve(QUESTION)

    assert (first.node.node_id, first.text) == ("bat", ANIMALS["bat"])
    assert first.node.ref_doc_id == "animals"
    assert first.metadata["finesieve"]["rank"] == 1
    assert first.score == first.metadata["finesieve"]["probability"]
    assert first.get_score() > 0.9 > second.get_score()


def test_a_language_model_reads_the_title_but_not_the_scores(client: Client) -> None:
    (found,) = FinesieveRetriever(client, collection=COLLECTION, options={"top_n": 1}).retrieve(
        QUESTION
    )

    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert "title: Bat" in found.get_content(mode)
        assert "finesieve" not in found.get_content(mode)


def test_without_reranking_the_score_is_the_first_stages(client: Client) -> None:
    (found,) = FinesieveRetriever(
        client, collection=COLLECTION, options={"top_n": 1, "skip_rerank": True}
    ).retrieve(QueryBundle(QUESTION))

    assert found.score == found.metadata["finesieve"]["retrieval_score"]
    assert "probability" not in found.metadata["finesieve"]


async def test_asyncio_through_an_async_client_or_a_thread(
    client: Client, async_client: AsyncClient
) -> None:
    alone = FinesieveRetriever(async_client=async_client, collection=COLLECTION)
    in_a_thread = FinesieveRetriever(client, collection=COLLECTION)

    first, second = await alone.aretrieve(QUESTION), await in_a_thread.aretrieve(QUESTION)

    assert [(each.node_id, each.score) for each in first] == [
        (each.node_id, each.score) for each in second
    ]
    with pytest.raises(ValueError, match="without await needs a client"):
        alone.retrieve(QUESTION)


def test_the_postprocessor_puts_the_best_first_and_leaves_the_given_as_they_are(
    client: Client,
) -> None:
    given = nodes()

    kept = FinesievePostprocessor(client=client, options={"top_n": 2}).postprocess_nodes(
        given, query_str=QUESTION
    )

    assert (kept[0].node_id, len(kept)) == ("bat", 2)
    assert kept[0].get_score() > 0.9
    assert kept[0].metadata["at"] == 2
    assert "finesieve" not in kept[0].get_content(MetadataMode.LLM)
    assert (given[2].score, given[2].metadata) == (None, {"at": 2})
    assert given[2].node.excluded_llm_metadata_keys == []


async def test_the_postprocessor_with_asyncio(client: Client, async_client: AsyncClient) -> None:
    alone = FinesievePostprocessor(async_client=async_client)

    kept = await alone.apostprocess_nodes(nodes(), QueryBundle(QUESTION))

    assert kept[0].node_id == "bat"
    assert await alone.apostprocess_nodes([], query_str=QUESTION) == []


def test_former_scores_count_where_a_weight_is_given(client: Client) -> None:
    given = nodes(0.1)
    given[0].score = 100.0
    options: Any = {"first_stage_weight": 1.0}

    blended = FinesievePostprocessor(client=client, options=options)

    assert blended.postprocess_nodes(given, query_str=QUESTION)[0].node_id == "whale"
    with pytest.raises(ValueError, match="not every document has a score"):
        blended.postprocess_nodes(nodes(), query_str=QUESTION)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"client": None}, "client is missing"),
        ({"client": "localhost:50051"}, "client is a str, not a Client"),
        ({"collection": ""}, "collection is empty"),
        ({"collection": 3}, "collection is a int"),
        ({"options": {"modus": "hybrid"}}, "did you mean 'mode'"),
        ({"options": {"mode": "words"}}, "allowed: dense, lexical, hybrid"),
        ({"options": {"top_n": "3"}}, "str"),
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
        ({"client": None}, "client is missing"),
        ({"options": {"long_pasage": "chunk"}}, "did you mean 'long_passage'"),
        ({"top_n": 3}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_postprocessor_that_cannot_work_is_a_validation_error(
    client: Client, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        FinesievePostprocessor(**{"client": client, **given})


def test_a_query_that_is_none_is_a_value_error(client: Client) -> None:
    postprocessor = FinesievePostprocessor(client=client)

    with pytest.raises(ValueError, match="query"):
        FinesieveRetriever(client, collection=COLLECTION).retrieve(" ")
    with pytest.raises(ValueError, match="a query is missing"):
        postprocessor.postprocess_nodes(nodes())
    with pytest.raises(ValueError, match="query"):
        postprocessor.postprocess_nodes(nodes(), query_str="")


def test_the_servers_other_errors_arrive_as_they_are(client: Client) -> None:
    with pytest.raises(NotFound):
        FinesieveRetriever(client, collection="nowhere").retrieve(QUESTION)
