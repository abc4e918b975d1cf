"""Calls that order passages: both stages, each alone, and the models behind them."""

from collections.abc import Iterable
from typing import Unpack

from finesieve.v1 import (
    embedding_pb2,
    models_pb2,
    passages_pb2,
    rerank_pb2,
    retrieval_pb2,
    search_pb2,
)
from finesieve_client import contract
from finesieve_client.calls.call import Call
from finesieve_client.filters import filter_message
from finesieve_client.options import (
    BothStages,
    FirstStage,
    Role,
    SecondStage,
    View,
    label,
    rerank_options,
    retrieval_options,
    several,
    split_stages,
    whole,
)
from finesieve_client.passages import embedding_message

Query = str | Iterable[float] | retrieval_pb2.RetrievalQuery


def retrieve(
    collection: str,
    query: Query,
    *,
    top_k: int = 0,
    words: str = "",
    view: View = "full",
    timeout_s: float | None = None,
    **options: Unpack[FirstStage],
) -> Call[retrieval_pb2.RetrieveResponse]:
    """First stage alone: the passages that answer a query, text or embedding, best first.

    `words`: what the modes lexical and hybrid look for; without them, the text.
    """
    chosen = retrieval_query(query, words)
    request = retrieval_pb2.RetrieveRequest(
        collection=collection,
        text=chosen.text if chosen.HasField("text") else None,
        embedding=chosen.embedding if chosen.HasField("embedding") else None,
        words=chosen.words,
        top_k=whole("top_k", top_k),
        filter=filter_message(options.get("filter")),
        options=retrieval_options(options),
        view=label("view", passages_pb2.PassageView, view),
    )
    return Call(contract.RETRIEVE, request, timeout_s)


def batch_retrieve(
    collection: str,
    queries: Iterable[Query],
    *,
    top_k: int = 0,
    view: View = "full",
    timeout_s: float | None = None,
    **options: Unpack[FirstStage],
) -> Call[retrieval_pb2.BatchRetrieveResponse]:
    """First stage for many queries at once, answered in their order.

    An embedding gets `words` of its own as a `retrieval_query(embedding, words)`.
    """
    request = retrieval_pb2.BatchRetrieveRequest(
        collection=collection,
        queries=[retrieval_query(query) for query in several("queries", queries)],
        top_k=whole("top_k", top_k),
        filter=filter_message(options.get("filter")),
        options=retrieval_options(options),
        view=label("view", passages_pb2.PassageView, view),
    )
    return Call(contract.BATCH_RETRIEVE, request, timeout_s)


def rerank(
    query: str,
    documents: Iterable[str | rerank_pb2.Document],
    *,
    top_n: int = 0,
    return_documents: bool = False,
    timeout_s: float | None = None,
    **options: Unpack[SecondStage],
) -> Call[rerank_pb2.RerankResponse]:
    """Second stage alone: order documents by their relevance to the query, best first."""
    request = rerank_request(
        query, documents, top_n=top_n, return_documents=return_documents, **options
    )
    return Call(contract.RERANK, request, timeout_s)


def search(
    collection: str,
    query: str,
    *,
    retrieve_k: int = 0,
    top_n: int = 0,
    skip_rerank: bool = False,
    window: int = 0,
    merge_share: float = 0.0,
    diversity: float | None = None,
    retrieval_queries: Iterable[Query] = (),
    view: View = "full",
    timeout_s: float | None = None,
    **options: Unpack[BothStages],
) -> Call[search_pb2.SearchResponse]:
    """Both stages: retrieve `retrieve_k` candidates, rerank them, return the best `top_n`.

    `window`: passages of its document that come back before each hit and after it. `merge_share`:
    a parent replaces its children where at least this share of them was retrieved, 0..1.
    `diversity`: how much the hits are chosen for being unlike those above them, 0..1, and not for
    their relevance; the contract's `relevance_weight` is the rest of 1.
    `retrieval_queries` are retrieved with instead of `query` (HyDE, query expansion); the second
    stage still reads `query`.
    """
    first, second = split_stages(options)
    request = search_pb2.SearchRequest(
        collection=collection,
        query=query,
        retrieve_k=whole("retrieve_k", retrieve_k),
        top_n=whole("top_n", top_n),
        filter=filter_message(first.get("filter")),
        retrieval=retrieval_options(first),
        rerank=rerank_options(second),
        skip_rerank=skip_rerank,
        context=search_pb2.Context(window=whole("window", window), merge_share=merge_share),
        diversity=(
            None if diversity is None else search_pb2.Diversity(relevance_weight=1 - diversity)
        ),
        retrieval_queries=[
            retrieval_query(other) for other in several("retrieval_queries", retrieval_queries)
        ],
        view=label("view", passages_pb2.PassageView, view),
    )
    return Call(contract.SEARCH, request, timeout_s)


def embed(
    texts: Iterable[str],
    *,
    role: Role | None = None,
    model: str = "",
    timeout_s: float | None = None,
) -> Call[embedding_pb2.EmbedResponse]:
    """Return one embedding per text; `role` chooses the prefix that the model was trained with."""
    request = embedding_pb2.EmbedRequest(
        model=model,
        texts=several("texts", texts),
        role=label("role", embedding_pb2.TextRole, role),
    )
    return Call(contract.EMBED, request, timeout_s)


def count_tokens(
    texts: Iterable[str],
    *,
    role: Role | None = None,
    model: str = "",
    timeout_s: float | None = None,
) -> Call[embedding_pb2.CountTokensResponse]:
    """Return how many tokens each text is to a bi-encoder, and how many its window holds."""
    request = embedding_pb2.CountTokensRequest(
        model=model,
        texts=several("texts", texts),
        role=label("role", embedding_pb2.TextRole, role),
    )
    return Call(contract.COUNT_TOKENS, request, timeout_s)


def list_models(*, timeout_s: float | None = None) -> Call[models_pb2.ListModelsResponse]:
    """Return the models that the server holds."""
    return Call(contract.LIST_MODELS, models_pb2.ListModelsRequest(), timeout_s)


def rerank_request(
    query: str,
    documents: Iterable[str | rerank_pb2.Document],
    *,
    top_n: int = 0,
    return_documents: bool = False,
    **options: Unpack[SecondStage],
) -> rerank_pb2.RerankRequest:
    """Return what `stream_rerank` takes; a plain string is a document's text."""
    return rerank_pb2.RerankRequest(
        query=query,
        documents=[
            rerank_pb2.Document(text=document) if isinstance(document, str) else document
            for document in several("documents", documents)
        ],
        top_n=whole("top_n", top_n),
        options=rerank_options(options),
        return_documents=return_documents,
    )


def stream_rerank_message(
    numbered: tuple[str, rerank_pb2.RerankRequest],
) -> rerank_pb2.StreamRerankRequest:
    """Return a request with its id as one message of StreamRerank."""
    request_id, request = numbered
    return rerank_pb2.StreamRerankRequest(request_id=request_id, request=request)


def retrieval_query(query: Query, words: str = "") -> retrieval_pb2.RetrievalQuery:
    """Return a query by text or by embedding, with the words that lexical search reads."""
    if isinstance(query, retrieval_pb2.RetrievalQuery):
        return query
    if isinstance(query, str):
        return retrieval_pb2.RetrievalQuery(text=query, words=words)
    return retrieval_pb2.RetrievalQuery(embedding=embedding_message(query), words=words)
