"""Paths, requests and expectations that the end-to-end tests share."""

from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor

from finesieve.v1 import (
    embedding_pb2,
    models_pb2,
    passages_pb2,
    rerank_pb2,
    retrieval_pb2,
    search_pb2,
)
from tests.server.rpc.wire import Outcome, Wire

CREATE = "/finesieve.v1.RetrievalService/CreateCollection"
GET_COLLECTION = "/finesieve.v1.RetrievalService/GetCollection"
UPSERT = "/finesieve.v1.RetrievalService/UpsertPassages"
DELETE = "/finesieve.v1.RetrievalService/DeletePassages"
GET = "/finesieve.v1.RetrievalService/GetPassages"
LIST = "/finesieve.v1.RetrievalService/ListPassages"
RETRIEVE = "/finesieve.v1.RetrievalService/Retrieve"
BATCH = "/finesieve.v1.RetrievalService/BatchRetrieve"
RERANK = "/finesieve.v1.RerankService/Rerank"
STREAM_RERANK = "/finesieve.v1.RerankService/StreamRerank"
SEARCH = "/finesieve.v1.SearchService/Search"
EMBED = "/finesieve.v1.EmbeddingService/Embed"
COUNT_TOKENS = "/finesieve.v1.EmbeddingService/CountTokens"
MODELS = "/finesieve.v1.ModelService/ListModels"

SERVICES = [
    file.services_by_name[name]
    for file, name in (
        (retrieval_pb2.DESCRIPTOR, "RetrievalService"),
        (rerank_pb2.DESCRIPTOR, "RerankService"),
        (search_pb2.DESCRIPTOR, "SearchService"),
        (embedding_pb2.DESCRIPTOR, "EmbeddingService"),
        (models_pb2.DESCRIPTOR, "ModelService"),
    )
]
METHODS: list[MethodDescriptor] = [method for each in SERVICES for method in each.methods]

MIB = 1024 * 1024
COLLECTION = "bad-input"
TEXTS = [
    "The eel migrates to the Sargasso Sea to spawn.",
    "Bread rises because yeast gives off carbon dioxide.",
    "A semaphore bounds how many threads enter at a time.",
    "The tower was painted red for the festival.",
]


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def assert_invalid(outcome: Outcome, reason: str, *fields: str) -> None:
    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT, outcome
    assert outcome.reason == reason, outcome
    assert outcome.fields == list(fields), outcome


def rerank(query: str, *texts: str, **fields: Any) -> rerank_pb2.RerankRequest:
    documents = [rerank_pb2.Document(text=text) for text in texts]
    return rerank_pb2.RerankRequest(query=query, documents=documents, **fields)


def values(*numbers: float, size: int = 384) -> passages_pb2.Embedding:
    return passages_pb2.Embedding(values=[*numbers, *[0.0] * (size - len(numbers))])


async def passage_count(wire: Wire) -> int:
    request = retrieval_pb2.GetCollectionRequest(name=COLLECTION)
    answer = await wire.ask(GET_COLLECTION, request, retrieval_pb2.GetCollectionResponse)
    return answer.collection.passage_count
