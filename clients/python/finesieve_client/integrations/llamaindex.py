"""finesieve in LlamaIndex: a retriever, and a node postprocessor that reranks.

    retriever = FinesieveRetriever(client, collection="docs", options={"top_n": 5})
    nodes = retriever.retrieve("How is a folder copied?")

What cannot work is a ValueError, as the framework's own parts raise it; of the postprocessor, which
is a pydantic model, a ValidationError when it is made. Other failures are `FinesieveError`s as they
come.
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
    from llama_index.core.bridge.pydantic import ConfigDict, Field, model_validator
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import (
        MetadataMode,
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ModuleNotFoundError as error:
    raise missing_extra(
        "finesieve in LlamaIndex needs", "llama-index-core", "llamaindex"
    ) from error

from finesieve_client.integrations.checked import Checked


class FinesieveRetriever(BaseRetriever):
    """Finds nodes by both stages; `options` are those of `Client.search`.

    A node's metadata is its passage's, with `title` and `document_id`; `finesieve` in it holds id,
    ranks, scores and spans, and is kept from models. A node's score is the calibrated probability;
    nodes come in the order of both stages. `async_client` answers `aretrieve`; without it a thread
    does.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        collection: str,
        async_client: AsyncClient | None = None,
        options: SearchOptions | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """Send nothing yet; raises ValueError for what cannot work."""
        self._clients = frame.Clients(client, async_client)
        self._collection = collection
        self._options = frame.checked_search(
            SearchOptions() if options is None else options, collection
        )
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        call = frame.search(self._collection, query_bundle.query_str, self._options)
        return _nodes(frame.found_by(self._clients.call(call)))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        call = frame.search(self._collection, query_bundle.query_str, self._options)
        return _nodes(frame.found_by(await self._clients.await_call(call)))


class FinesievePostprocessor(BaseNodePostprocessor):
    """Reranks nodes from anywhere by the cross-encoder; `options` are `Client.rerank`'s.

    The cross-encoder reads a node without its metadata. Each comes back as a copy with its
    probability as the score. With `first_stage_weight` the nodes' former scores count, too.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    client: Client | None = Field(default=None, exclude=True)
    async_client: AsyncClient | None = Field(default=None, exclude=True)
    options: Annotated[frame.RerankOptions, Checked(frame.checked_rerank)] = Field(
        default_factory=frame.RerankOptions
    )

    @classmethod
    def class_name(cls) -> str:
        """Return what LlamaIndex calls this part."""
        return "FinesievePostprocessor"

    @model_validator(mode="after")
    def _check_clients(self) -> Self:
        self._clients()
        return self

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        call = self._call(nodes, query_bundle)
        return _reordered(nodes, self._clients().call(call)) if nodes else []

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        call = self._call(nodes, query_bundle)
        return _reordered(nodes, await self._clients().await_call(call)) if nodes else []

    def _call(
        self, nodes: Sequence[NodeWithScore], query_bundle: QueryBundle | None
    ) -> Call[RerankResponse]:
        if query_bundle is None:
            raise ValueError("a query is missing; give query_str or query_bundle")
        texts = [each.node.get_content(MetadataMode.NONE) for each in nodes]
        scores = [each.score for each in nodes]
        return frame.rerank(query_bundle.query_str, texts, scores, self.options)

    def _clients(self) -> frame.Clients:
        return frame.Clients(self.client, self.async_client)


def _nodes(hits: Sequence[frame.Found]) -> list[NodeWithScore]:
    return [NodeWithScore(node=_node(found), score=found.score) for found in hits]


def _node(found: frame.Found) -> TextNode:
    document_id = found.metadata[frame.KEY]["document_id"]
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document_id)} if document_id else {}
    return TextNode(
        id_=found.id,
        text=found.text,
        metadata=found.metadata,
        relationships=source,
        excluded_llm_metadata_keys=[frame.KEY],
        excluded_embed_metadata_keys=[frame.KEY],
    )


def _reordered(nodes: Sequence[NodeWithScore], answer: RerankResponse) -> list[NodeWithScore]:
    reordered = []
    for ranked in frame.ranked_by(answer):
        node = nodes[ranked.index].node.model_copy()
        node.metadata = ranked.metadata(node.metadata)
        node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, frame.KEY]
        node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, frame.KEY]
        reordered.append(NodeWithScore(node=node, score=ranked.score))
    return reordered
