"""Name every method of the contract that this client speaks, and say which may be tried again."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from finesieve.v1 import embedding_pb2, models_pb2, rerank_pb2, retrieval_pb2, search_pb2

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Page = TypeVar("Page", retrieval_pb2.ListCollectionsResponse, retrieval_pb2.ListPassagesResponse)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One RPC: where it is, and what goes in and out.

    `repeatable`: a second try after a lost answer leaves the same state and gets the same kind of
    answer, so the channel may try again by itself.
    """

    service: str
    request: type[Request]
    response: type[Response]
    repeatable: bool = True

    @property
    def name(self) -> str:
        """Return the RPC's name; the contract calls its request `<name>Request`."""
        return self.request.DESCRIPTOR.name.removesuffix("Request")

    @property
    def path(self) -> str:
        """Return the HTTP/2 path."""
        return f"/finesieve.v1.{self.service}/{self.name}"


# CreateCollection would answer ALREADY_EXISTS to its own lost first try, DeleteCollection
# NOT_FOUND; of a stream only the caller knows what was answered.
CREATE_COLLECTION = Method(
    "RetrievalService",
    retrieval_pb2.CreateCollectionRequest,
    retrieval_pb2.CreateCollectionResponse,
    repeatable=False,
)
GET_COLLECTION = Method(
    "RetrievalService", retrieval_pb2.GetCollectionRequest, retrieval_pb2.GetCollectionResponse
)
LIST_COLLECTIONS = Method(
    "RetrievalService", retrieval_pb2.ListCollectionsRequest, retrieval_pb2.ListCollectionsResponse
)
DELETE_COLLECTION = Method(
    "RetrievalService",
    retrieval_pb2.DeleteCollectionRequest,
    retrieval_pb2.DeleteCollectionResponse,
    repeatable=False,
)
UPSERT_PASSAGES = Method(
    "RetrievalService", retrieval_pb2.UpsertPassagesRequest, retrieval_pb2.UpsertPassagesResponse
)
STREAM_UPSERT_PASSAGES = Method(
    "RetrievalService",
    retrieval_pb2.StreamUpsertPassagesRequest,
    retrieval_pb2.StreamUpsertPassagesResponse,
    repeatable=False,
)
DELETE_PASSAGES = Method(
    "RetrievalService", retrieval_pb2.DeletePassagesRequest, retrieval_pb2.DeletePassagesResponse
)
GET_PASSAGES = Method(
    "RetrievalService", retrieval_pb2.GetPassagesRequest, retrieval_pb2.GetPassagesResponse
)
LIST_PASSAGES = Method(
    "RetrievalService", retrieval_pb2.ListPassagesRequest, retrieval_pb2.ListPassagesResponse
)
RETRIEVE = Method("RetrievalService", retrieval_pb2.RetrieveRequest, retrieval_pb2.RetrieveResponse)
BATCH_RETRIEVE = Method(
    "RetrievalService", retrieval_pb2.BatchRetrieveRequest, retrieval_pb2.BatchRetrieveResponse
)
RERANK = Method("RerankService", rerank_pb2.RerankRequest, rerank_pb2.RerankResponse)
STREAM_RERANK = Method(
    "RerankService",
    rerank_pb2.StreamRerankRequest,
    rerank_pb2.StreamRerankResponse,
    repeatable=False,
)
SEARCH = Method("SearchService", search_pb2.SearchRequest, search_pb2.SearchResponse)
EMBED = Method("EmbeddingService", embedding_pb2.EmbedRequest, embedding_pb2.EmbedResponse)
COUNT_TOKENS = Method(
    "EmbeddingService", embedding_pb2.CountTokensRequest, embedding_pb2.CountTokensResponse
)
LIST_MODELS = Method("ModelService", models_pb2.ListModelsRequest, models_pb2.ListModelsResponse)

# Whatever is a method above, so that none is forgotten.
METHODS: tuple[Method[Any, Any], ...] = tuple(
    each for each in tuple(globals().values()) if isinstance(each, Method)
)
REPEATABLE = tuple(method for method in METHODS if method.repeatable)
