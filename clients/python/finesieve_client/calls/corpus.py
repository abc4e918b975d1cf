"""Calls about what is stored: collections and their passages."""

from collections.abc import Callable, Iterable

from finesieve.v1 import passages_pb2, retrieval_pb2
from finesieve_client import contract
from finesieve_client.calls.call import Call
from finesieve_client.filters import Condition, filter_message
from finesieve_client.options import DistanceName, View, label, several, whole


def create_collection(
    name: str,
    *,
    embedding_model: str = "",
    dimension: int = 0,
    distance: DistanceName | None = None,
    m: int = 0,
    ef_construction: int = 0,
    ef_search: int = 0,
    caller_embeds: bool = False,
    timeout_s: float | None = None,
) -> Call[retrieval_pb2.CreateCollectionResponse]:
    """Make an empty collection; by default the server's own bi-encoder embeds its passages."""
    request = retrieval_pb2.CreateCollectionRequest(
        name=name,
        embedding_model=embedding_model,
        dimension=whole("dimension", dimension),
        distance=label("distance", passages_pb2.Distance, distance),
        hnsw=passages_pb2.HnswOptions(
            m=whole("m", m),
            ef_construction=whole("ef_construction", ef_construction),
            ef_search=whole("ef_search", ef_search),
        ),
        caller_embeds=caller_embeds,
    )
    return Call(contract.CREATE_COLLECTION, request, timeout_s)


def get_collection(
    name: str, *, timeout_s: float | None = None
) -> Call[retrieval_pb2.GetCollectionResponse]:
    """Describe one collection."""
    return Call(contract.GET_COLLECTION, retrieval_pb2.GetCollectionRequest(name=name), timeout_s)


def list_collections(
    *, page_size: int = 0, page_token: str = "", timeout_s: float | None = None
) -> Call[retrieval_pb2.ListCollectionsResponse]:
    """One page of the collections, by name; `all_collections` follows the pages."""
    request = retrieval_pb2.ListCollectionsRequest(
        page_size=whole("page_size", page_size), page_token=page_token
    )
    return Call(contract.LIST_COLLECTIONS, request, timeout_s)


def delete_collection(
    name: str, *, timeout_s: float | None = None
) -> Call[retrieval_pb2.DeleteCollectionResponse]:
    """Delete a collection with all its passages."""
    return Call(
        contract.DELETE_COLLECTION, retrieval_pb2.DeleteCollectionRequest(name=name), timeout_s
    )


def upsert_passages(
    collection: str,
    passages: Iterable[passages_pb2.Passage],
    *,
    replace_documents: bool = False,
    timeout_s: float | None = None,
) -> Call[retrieval_pb2.UpsertPassagesResponse]:
    """Store all these passages or none; durable once answered.

    `replace_documents`: also remove what else their documents hold, so that one which became
    shorter leaves nothing behind; each passage then needs a document_id.
    """
    request = retrieval_pb2.UpsertPassagesRequest(
        collection=collection, passages=passages, replace_documents=replace_documents
    )
    return Call(contract.UPSERT_PASSAGES, request, timeout_s)


def stream_upsert_message(
    collection: str, *, replace_documents: bool = False
) -> Callable[[Iterable[passages_pb2.Passage]], retrieval_pb2.StreamUpsertPassagesRequest]:
    """Return what makes one batch a message of StreamUpsertPassages."""
    return lambda batch: retrieval_pb2.StreamUpsertPassagesRequest(
        collection=collection, passages=batch, replace_documents=replace_documents
    )


def delete_passages(
    collection: str,
    *,
    ids: Iterable[str] | None = None,
    filter: Condition | passages_pb2.Filter | None = None,
    timeout_s: float | None = None,
) -> Call[retrieval_pb2.DeletePassagesResponse]:
    """Delete the passages with these ids, or those that meet the filter: exactly one of the two."""
    request = retrieval_pb2.DeletePassagesRequest(
        collection=collection,
        ids=None if ids is None else several("ids", ids),
        filter=filter_message(filter),
    )
    return Call(contract.DELETE_PASSAGES, request, timeout_s)


def get_passages(
    collection: str, ids: Iterable[str], *, view: View = "full", timeout_s: float | None = None
) -> Call[retrieval_pb2.GetPassagesResponse]:
    """Return the passages with these ids, in their order, and which of the ids are missing."""
    request = retrieval_pb2.GetPassagesRequest(
        collection=collection,
        ids=several("ids", ids),
        view=label("view", passages_pb2.PassageView, view),
    )
    return Call(contract.GET_PASSAGES, request, timeout_s)


def list_passages(
    collection: str,
    *,
    filter: Condition | passages_pb2.Filter | None = None,
    page_size: int = 0,
    page_token: str = "",
    view: View = "full",
    timeout_s: float | None = None,
) -> Call[retrieval_pb2.ListPassagesResponse]:
    """One page of the passages, by id; `all_passages` follows the pages."""
    request = retrieval_pb2.ListPassagesRequest(
        collection=collection,
        filter=filter_message(filter),
        page_size=whole("page_size", page_size),
        page_token=page_token,
        view=label("view", passages_pb2.PassageView, view),
    )
    return Call(contract.LIST_PASSAGES, request, timeout_s)
