"""The statuses that the real server gives today, each with its details."""

from dataclasses import dataclass, field

import pytest
from google.protobuf.message import Message
from google.rpc.code_pb2 import (
    ALREADY_EXISTS,
    DEADLINE_EXCEEDED,
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
)

from clients.conformance.client import Client
from clients.conformance.conftest import Connect, Serve
from clients.conformance.corpus import LARGE
from finesieve.v1.embedding_pb2 import EmbedRequest
from finesieve.v1.passages_pb2 import Filter, Passage
from finesieve.v1.rerank_pb2 import Document, RerankOptions, RerankRequest
from finesieve.v1.results_pb2 import SCORE_STATUS_FAILED, SCORE_STATUS_SCORED
from finesieve.v1.retrieval_pb2 import (
    CreateCollectionRequest,
    DeletePassagesRequest,
    GetCollectionRequest,
    GetPassagesRequest,
    ListPassagesRequest,
    UpsertPassagesRequest,
)
from finesieve.v1.search_pb2 import SearchRequest

TWINS = [Passage(id=name, text="a text") for name in ("x", "y", "x")]
DOCUMENTS = [Document(text="a document")]


@dataclass(frozen=True)
class Case:
    """A request and the error that answers it."""

    method: str
    request: Message
    code: int
    reason: str
    fields: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


CASES = {
    "empty query": Case(
        "RerankService/Rerank",
        RerankRequest(query=" ", documents=DOCUMENTS),
        INVALID_ARGUMENT,
        "EMPTY_FIELD",
        ["query"],
    ),
    "long query": Case(
        "RerankService/Rerank",
        RerankRequest(query="x" * 8_193, documents=DOCUMENTS),
        INVALID_ARGUMENT,
        "TOO_LONG",
        ["query"],
        {"limit": "8192"},
    ),
    "many documents": Case(
        "RerankService/Rerank",
        RerankRequest(query="a query", documents=DOCUMENTS * 1_001),
        INVALID_ARGUMENT,
        "BATCH_TOO_LARGE",
        ["documents"],
        {"limit": "1000"},
    ),
    "one id twice": Case(
        "RetrievalService/UpsertPassages",
        UpsertPassagesRequest(collection="animals", passages=TWINS),
        INVALID_ARGUMENT,
        "DUPLICATE_ID",
        ["passages[2].id"],
    ),
    "bad page token": Case(
        "RetrievalService/ListPassages",
        ListPassagesRequest(collection="animals", page_token="garbage"),
        INVALID_ARGUMENT,
        "BAD_PAGE_TOKEN",
        ["page_token"],
    ),
    "fewer candidates than hits": Case(
        "SearchService/Search",
        SearchRequest(collection="animals", query="a query", retrieve_k=5, top_n=10),
        INVALID_ARGUMENT,
        "INVALID_FIELD",
        ["retrieve_k"],
    ),
    "filter without a condition": Case(
        "RetrievalService/DeletePassages",
        DeletePassagesRequest(collection="animals", filter=Filter()),
        INVALID_ARGUMENT,
        "INVALID_FIELD",
        ["filter"],
    ),
    "no such collection": Case(
        "RetrievalService/GetCollection",
        GetCollectionRequest(name="nowhere"),
        NOT_FOUND,
        "COLLECTION_NOT_FOUND",
        metadata={"collection": "nowhere"},
    ),
    "no such model": Case(
        "RerankService/Rerank",
        RerankRequest(query="q", documents=DOCUMENTS, options=RerankOptions(model="nobody")),
        NOT_FOUND,
        "MODEL_NOT_FOUND",
        metadata={"model": "nobody"},
    ),
    "collection that is there": Case(
        "RetrievalService/CreateCollection",
        CreateCollectionRequest(name="animals"),
        ALREADY_EXISTS,
        "ALREADY_EXISTS",
    ),
    "model of the wrong kind": Case(
        "EmbeddingService/Embed",
        EmbedRequest(model="finesieve-minilm-l6", texts=["a text"]),
        FAILED_PRECONDITION,
        "FAILED_PRECONDITION",
    ),
    "answer beyond 4 MiB": Case(
        "RetrievalService/GetPassages",
        GetPassagesRequest(collection="large", ids=[passage.id for passage in LARGE]),
        RESOURCE_EXHAUSTED,
        "ANSWER_TOO_LARGE",
        metadata={"limit": str(4 * 1024 * 1024 - 1024)},
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_an_error_comes_with_all_that_the_server_says_of_it(
    what: str, client: Client, animals: str, large: str
) -> None:
    case = CASES[what]

    error = client.call(case.method, case.request).error

    assert (error.code, error.reason) == (case.code, case.reason), error
    assert [violation.field for violation in error.violations] == case.fields
    assert all(violation.description for violation in error.violations)
    assert dict(error.metadata) == case.metadata
    assert error.message
    assert error.request_id
    assert not error.HasField("retry_delay_s")


def test_a_deadline_that_not_even_an_idle_server_could_keep_is_told_with_the_estimate(
    client: Client,
) -> None:
    documents = [Document(text=f"{number} " + "many words " * 300) for number in range(1_000)]
    request = RerankRequest(query="q", documents=documents)

    error = client.call("RerankService/Rerank", request, timeout_ms=8_000).error

    assert (error.code, error.reason) == (DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT"), error
    assert float(error.metadata["estimate_ms"]) > 8_000


def test_one_bad_document_fails_alone(client: Client) -> None:
    request = RerankRequest(query="q", documents=[Document(text=""), *DOCUMENTS])

    answer = client.call("RerankService/Rerank", request).answer

    assert [(each.index, each.status) for each in answer.results] == [
        (1, SCORE_STATUS_SCORED),
        (0, SCORE_STATUS_FAILED),
    ]
    failure = answer.results[1].failure
    assert (failure.code, failure.reason) == (INVALID_ARGUMENT, "EMPTY_FIELD")


def test_where_nobody_listens_is_unavailable(connect: Connect, serve: Serve) -> None:
    with serve({}) as gone:
        pass

    error = (
        connect(gone.target)
        .call("RetrievalService/GetCollection", GetCollectionRequest(name="a"))
        .error
    )

    assert error.code == UNAVAILABLE
    assert error.message
