"""Every RPC of the contract, as the real server answers it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message

from clients.conformance.client import Client
from clients.conformance.corpus import PASSAGES, TEXTS
from demo.server_process import ServerProcess
from finesieve.v1.embedding_pb2 import CountTokensRequest, EmbedRequest
from finesieve.v1.feedback_pb2 import ExportTrainingPairsRequest, RecordFeedbackRequest
from finesieve.v1.models_pb2 import ListModelsRequest
from finesieve.v1.passages_pb2 import COLLECTION_STATE_READY, PASSAGE_VIEW_ID, Passage
from finesieve.v1.rerank_pb2 import Document, RerankRequest, StreamRerankRequest
from finesieve.v1.results_pb2 import SCORE_STATUS_SCORED
from finesieve.v1.retrieval_pb2 import (
    BatchRetrieveRequest,
    CreateCollectionRequest,
    DeleteCollectionRequest,
    DeletePassagesRequest,
    GetCollectionRequest,
    GetPassagesRequest,
    ListCollectionsRequest,
    ListPassagesRequest,
    RetrievalQuery,
    RetrieveRequest,
    StreamUpsertPassagesRequest,
    UpsertPassagesRequest,
)
from finesieve.v1.search_pb2 import SearchRequest
from finesieve_client import Client as PythonClient
from finesieve_client import NotFound
from tests.client.scripted_server import METHODS

QUERY = "Which animal finds its way in the dark by sound?"
RERANK = RerankRequest(
    query=QUERY,
    documents=[Document(id=passage.id, text=passage.text) for passage in PASSAGES],
    top_n=3,
)
NEW = [Passage(id="ant", text="Ants leave scents."), Passage(id="bat", text="Bats fly at night.")]
# What the fixture `scratch` makes, and what a test may make.
SCRATCH, MADE = "scratch", "made"


@dataclass(frozen=True)
class Case:
    """A request, and what is true of each answer to it."""

    request: Message
    holds: Callable[[Any], bool]


CASES = {
    "RetrievalService/CreateCollection": Case(
        CreateCollectionRequest(name=MADE),
        lambda answer: (
            answer.collection.name == MADE
            and answer.collection.state == COLLECTION_STATE_READY
            and answer.collection.dimension == 384
        ),
    ),
    "RetrievalService/GetCollection": Case(
        GetCollectionRequest(name="animals"),
        lambda answer: answer.collection.passage_count == len(PASSAGES),
    ),
    "RetrievalService/ListCollections": Case(
        ListCollectionsRequest(page_size=1),
        lambda answer: [each.name for each in answer.collections] == ["animals"],
    ),
    "RetrievalService/DeleteCollection": Case(
        DeleteCollectionRequest(name=SCRATCH), lambda answer: answer.ByteSize() == 0
    ),
    "RetrievalService/UpsertPassages": Case(
        UpsertPassagesRequest(collection=SCRATCH, passages=NEW),
        lambda answer: (answer.inserted, answer.updated) == (1, 1),
    ),
    "RetrievalService/StreamUpsertPassages": Case(
        StreamUpsertPassagesRequest(collection=SCRATCH, passages=NEW),
        lambda answer: (answer.batch, answer.inserted, answer.updated) == (0, 1, 1),
    ),
    "RetrievalService/DeletePassages": Case(
        DeletePassagesRequest(collection=SCRATCH, ids=["bat", "nobody"]),
        lambda answer: answer.deleted == 1,
    ),
    "RetrievalService/GetPassages": Case(
        GetPassagesRequest(collection="animals", ids=["whale", "nobody", "bat"]),
        lambda answer: (
            [each.text for each in answer.passages] == [TEXTS["whale"], TEXTS["bat"]]
            and answer.missing_ids == ["nobody"]
        ),
    ),
    "RetrievalService/ListPassages": Case(
        ListPassagesRequest(collection="animals", page_size=2, view=PASSAGE_VIEW_ID),
        lambda answer: (
            list(answer.passages) == [Passage(id="bat"), Passage(id="bee")]
            and answer.next_page_token != ""
        ),
    ),
    "RetrievalService/Retrieve": Case(
        RetrieveRequest(collection="animals", text=QUERY, top_k=3),
        lambda answer: [hit.rank for hit in answer.hits] == [1, 2, 3],
    ),
    "RetrievalService/BatchRetrieve": Case(
        BatchRetrieveRequest(
            collection="animals",
            queries=[RetrievalQuery(text=TEXTS["bee"]), RetrievalQuery(text=TEXTS["whale"])],
            top_k=1,
        ),
        lambda answer: [each.hits[0].passage.id for each in answer.results] == ["bee", "whale"],
    ),
    "RerankService/Rerank": Case(
        RERANK,
        lambda answer: (
            len(answer.results) == 3
            and answer.results[0].id == "bat"
            and answer.results[0].index == 0
            and answer.results[0].status == SCORE_STATUS_SCORED
            and answer.usage.pairs == len(PASSAGES)
        ),
    ),
    "RerankService/StreamRerank": Case(
        StreamRerankRequest(request_id="one", request=RERANK),
        lambda answer: answer.request_id == "one" and answer.response.results[0].id == "bat",
    ),
    "SearchService/Search": Case(
        SearchRequest(collection="animals", query=QUERY, top_n=2),
        lambda answer: (
            [found.hit.rank for found in answer.hits] == [1, 2]
            and answer.hits[0].hit.passage.text == TEXTS["bat"]
            and answer.hits[0].hit.score.probability > 0
        ),
    ),
    "EmbeddingService/Embed": Case(
        EmbedRequest(texts=["one", "two"]),
        lambda answer: [len(each.values) for each in answer.embeddings] == [384, 384],
    ),
    "EmbeddingService/CountTokens": Case(
        CountTokensRequest(texts=["one", "one two three"]),
        lambda answer: list(answer.tokens) == [1, 3] and answer.max_tokens > 0,
    ),
    "ModelService/ListModels": Case(
        ListModelsRequest(),
        lambda answer: len(answer.models) == 2 and all(each.is_default for each in answer.models),
    ),
}
# In the contract, and in no server yet. Served, each becomes a case above.
UNSERVED: dict[str, Message] = {
    "FeedbackService/RecordFeedback": RecordFeedbackRequest(search_id="s", passage_id="p"),
    "FeedbackService/ExportTrainingPairs": ExportTrainingPairsRequest(collection="animals"),
}


@pytest.fixture
def scratch(server: ServerProcess, animals: None) -> Iterator[None]:
    """Make a collection for a test to change; remove it, and what the test made."""
    with PythonClient(server.address) as python:
        python.create_collection(SCRATCH)
        python.upsert_passages(SCRATCH, PASSAGES[:1])
        yield
        for name in (SCRATCH, MADE):
            with suppress(NotFound):
                python.delete_collection(name)


def test_no_rpc_of_the_contract_lacks_a_case() -> None:
    contract = {path.removeprefix("/finesieve.v1.") for path in METHODS}

    assert {*CASES, *UNSERVED} == contract


@pytest.mark.parametrize("method", CASES)
def test_every_rpc_is_answered(method: str, client: Client, scratch: None) -> None:
    case = CASES[method]

    answer = client.call(method, case.request).answer

    assert case.holds(answer), answer


@pytest.mark.parametrize("method", UNSERVED)
def test_what_no_server_serves_yet_is_unimplemented(method: str, client: Client) -> None:
    error = client.call(method, UNSERVED[method]).error

    assert (error.code, error.reason) == (12, "UNIMPLEMENTED")
    assert method in error.message
