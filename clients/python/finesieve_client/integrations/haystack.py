"""finesieve in Haystack: a retriever component, and a ranker component.

    retriever = FinesieveRetriever(client, collection="docs", options={"top_n": 5})
    documents = retriever.run(query="How is a folder copied?")["documents"]

What cannot work is a ValueError, as of Haystack's own components; other failures are
`FinesieveError`s as they come. A pipeline puts either into its PipelineRuntimeError, as the cause.
"""

from collections.abc import Sequence
from dataclasses import replace

from finesieve.v1.rerank_pb2 import RerankResponse
from finesieve.v1.search_pb2 import SearchResponse
from finesieve_client.async_client import AsyncClient
from finesieve_client.calls.call import Call
from finesieve_client.client import Client
from finesieve_client.extras import missing_extra
from finesieve_client.integrations import frame
from finesieve_client.options import SearchOptions

try:
    from haystack import Document, component
except ModuleNotFoundError as error:
    raise missing_extra("finesieve in Haystack needs", "haystack-ai", "haystack") from error


@component
class FinesieveRetriever:
    """Finds documents by both stages; `options` are those of `Client.search`.

    A document's meta is its passage's metadata, with `title` and `document_id`; `finesieve` in it
    holds id, ranks, scores and spans. Its score is the calibrated probability; documents come in
    the order of both stages. `async_client` answers `run_async`; without it a thread does.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        collection: str,
        async_client: AsyncClient | None = None,
        options: SearchOptions | None = None,
    ) -> None:
        """Send nothing yet; raises ValueError for what cannot work."""
        self._clients = frame.Clients(client, async_client)
        self._collection = collection
        self._options = frame.checked_search(
            SearchOptions() if options is None else options, collection
        )

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None) -> dict[str, list[Document]]:
        """Return the `documents` found; `top_k` stands in the place of the option `top_n`."""
        return _found(self._clients.call(self._call(query, top_k)))

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, top_k: int | None = None) -> dict[str, list[Document]]:
        """Return the `documents` found; `top_k` stands in the place of the option `top_n`."""
        return _found(await self._clients.await_call(self._call(query, top_k)))

    def _call(self, query: str, top_k: int | None) -> Call[SearchResponse]:
        options = self._options.copy()
        if top_k is not None:
            options["top_n"] = _positive(top_k)
        return frame.search(self._collection, query, options)


@component
class FinesieveRanker:
    """Reranks documents from anywhere by the cross-encoder; `options` are `Client.rerank`'s.

    Each comes back as a copy with its probability as the score. With `first_stage_weight` the
    documents' former scores count, too.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        async_client: AsyncClient | None = None,
        options: frame.RerankOptions | None = None,
    ) -> None:
        """Send nothing yet; raises ValueError for what cannot work."""
        self._clients = frame.Clients(client, async_client)
        self._options = frame.checked_rerank(frame.RerankOptions() if options is None else options)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the `documents` in their new order; `top_k` stands in for the option `top_n`."""
        call = self._call(query, documents, top_k)
        return _reordered(documents, self._clients.call(call)) if documents else {"documents": []}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the `documents` in their new order; `top_k` stands in for the option `top_n`."""
        call = self._call(query, documents, top_k)
        if not documents:
            return {"documents": []}
        return _reordered(documents, await self._clients.await_call(call))

    def _call(
        self, query: str, documents: Sequence[Document], top_k: int | None
    ) -> Call[RerankResponse]:
        texts = [document.content or "" for document in documents]  # of no text: fails alone
        scores = [document.score for document in documents]
        options = self._options.copy()
        if top_k is not None:
            options["top_n"] = _positive(top_k)
        return frame.rerank(query, texts, scores, options)


def _positive(top_k: object) -> int:
    if not isinstance(top_k, int) or top_k < 1:
        raise ValueError(f"top_k is {top_k!r}; at least 1 is needed")
    return top_k


def _found(answer: SearchResponse) -> dict[str, list[Document]]:
    documents = [
        Document(id=found.id, content=found.text, meta=found.metadata, score=found.score)
        for found in frame.found_by(answer)
    ]
    return {"documents": documents}


def _reordered(documents: Sequence[Document], answer: RerankResponse) -> dict[str, list[Document]]:
    reordered = [
        replace(
            documents[ranked.index],
            score=ranked.score,
            meta=ranked.metadata(documents[ranked.index].meta),
        )
        for ranked in frame.ranked_by(answer)
    ]
    return {"documents": reordered}
