"""finesieve in LangChain: a retriever, and a document compressor that reranks.

    retriever = FinesieveRetriever(client=client, collection="docs", options={"top_n": 5})
    documents = retriever.invoke("How is a folder copied?")

What cannot work is a pydantic ValidationError when the object is made, a ValueError when it is
called. Other failures are `FinesieveError`s as they come, for `with_retry` and `with_fallbacks` to
choose by their class.
"""

from collections.abc import Sequence
from typing import Annotated, Self

from finesieve.v1.rerank_pb2 import RerankResponse
from finesieve_client.async_client import AsyncClient
from finesieve_client.calls.call import Call
from finesieve_client.client import Client
from finesieve_client.extras import missing_extra
from finesieve_client.integrations import frame
from finesieve_client.options import SearchOptions

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever
    from pydantic import ConfigDict, Field, model_validator
    from typing_extensions import override
except ModuleNotFoundError as error:
    raise missing_extra("finesieve in LangChain needs", "langchain-core", "langchain") from error

from finesieve_client.integrations.checked import Checked


class FinesieveRetriever(BaseRetriever):
    """Finds documents by both stages; `options` are those of `Client.search`.

    A document's metadata is its passage's, with `title` and `document_id`; `finesieve` in it holds
    id, ranks, scores and spans. `async_client` answers `ainvoke`; without it a thread does.
    """

    model_config = ConfigDict(extra="forbid")

    client: Client | None = Field(default=None, exclude=True)
    async_client: AsyncClient | None = Field(default=None, exclude=True)
    collection: str = Field(min_length=1)
    options: Annotated[SearchOptions, Checked(frame.checked_search)] = Field(
        default_factory=SearchOptions
    )

    @model_validator(mode="after")
    def _check_clients(self) -> Self:
        self._clients()
        return self

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        call = frame.search(self.collection, query, self.options)
        return _documents(frame.found_by(self._clients().call(call)))

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        call = frame.search(self.collection, query, self.options)
        return _documents(frame.found_by(await self._clients().await_call(call)))

    def _clients(self) -> frame.Clients:
        return frame.Clients(self.client, self.async_client)


class FinesieveCompressor(BaseDocumentCompressor):
    """Reranks documents from anywhere by the cross-encoder; `options` are `Client.rerank`'s.

    Each comes back as a copy, with its scores below `finesieve` in the metadata.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    client: Client | None = Field(default=None, exclude=True)
    async_client: AsyncClient | None = Field(default=None, exclude=True)
    options: Annotated[frame.RerankOptions, Checked(frame.checked_rerank)] = Field(
        default_factory=frame.RerankOptions
    )

    @model_validator(mode="after")
    def _check_clients(self) -> Self:
        self._clients()
        return self

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the documents in their new order, cut at `top_n`."""
        if not documents:
            return []
        return _reordered(documents, self._clients().call(self._call(documents, query)))

    @override
    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the documents in their new order, cut at `top_n`."""
        if not documents:
            return []
        return _reordered(documents, await self._clients().await_call(self._call(documents, query)))

    def _call(self, documents: Sequence[Document], query: str) -> Call[RerankResponse]:
        texts = [document.page_content for document in documents]
        return frame.rerank(query, texts, [None] * len(texts), self.options)

    def _clients(self) -> frame.Clients:
        return frame.Clients(self.client, self.async_client)


def _documents(hits: Sequence[frame.Found]) -> list[Document]:
    return [
        Document(id=found.id, page_content=found.text, metadata=found.metadata) for found in hits
    ]


def _reordered(documents: Sequence[Document], answer: RerankResponse) -> list[Document]:
    return [
        documents[ranked.index].model_copy(
            update={"metadata": ranked.metadata(documents[ranked.index].metadata)}
        )
        for ranked in frame.ranked_by(answer)
    ]
