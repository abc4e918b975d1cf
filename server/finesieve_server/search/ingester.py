"""Store passages with their embeddings, made where missing, and with their kept tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import (
    CollectionSpec,
    Passage,
    Upserted,
    require_distinct,
    require_documents,
)
from finesieve_server.search.call import Call
from finesieve_server.search.embedder import Embedder
from finesieve_server.search.index import Catalog
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.passage_reader import PassageReader
from finesieve_server.search.texts import TokenizerPool, check_text, full_text


class Ingester:
    """The way of a passage into a collection."""

    def __init__(
        self,
        catalog: Catalog,
        models: Models,
        embedder: Embedder,
        tokenizers: TokenizerPool,
        limits: Limits,
    ) -> None:
        self._catalog = catalog
        self._models = models
        self._embedder = embedder
        self._tokenizers = tokenizers
        self._limits = limits

    async def upsert(
        self,
        collection: str,
        passages: Sequence[Passage],
        call: Call,
        *,
        replace_documents: bool = False,
    ) -> Upserted:
        """Store all passages or none; they are durable when this returns.

        With `replace_documents`, nothing else stays of the documents that they belong to.
        Raises CollectionNotFound, InvalidArgument naming passages[i], what the batcher raises, and
        StorageFull.
        """
        target = await self._catalog.get(collection)
        if replace_documents:
            require_documents(passages)
        self._check(target.spec, passages)
        texts = [full_text(each.title, each.text) for each in passages]
        reader = PassageReader(self._tokenizers, texts, call)
        vectors = await self._vectors(target.spec, passages, reader, call)
        # Only what search may find is ever scored.
        found = [position for position, each in enumerate(passages) if not each.context_only]
        tokens = await reader.pack(self._models.cross_encoders(), found)
        return await target.upsert(passages, vectors, tokens, replace_documents=replace_documents)

    def _check(self, spec: CollectionSpec, passages: Sequence[Passage]) -> None:
        require_distinct(passages)
        for position, passage in enumerate(passages):
            field = f"passages[{position}]"
            check_text(f"{field}.text", passage.text, self._limits.max_passage_chars)
            if passage.title:
                check_text(f"{field}.title", passage.title, self._limits.max_passage_chars)
            if spec.caller_embeds and passage.embedding is None and not passage.context_only:
                raise InvalidArgument(
                    f"{field}.embedding", "is missing; callers embed in this collection"
                )

    async def _vectors(
        self,
        spec: CollectionSpec,
        passages: Sequence[Passage],
        reader: PassageReader,
        call: Call,
    ) -> list[NDArray[np.float32] | None]:
        """Return one vector a passage, None for those that are never retrieved themselves."""
        vectors: list[NDArray[np.float32] | None] = [
            None if each.context_only else each.embedding for each in passages
        ]
        missing = [
            position
            for position, each in enumerate(passages)
            if each.embedding is None and not each.context_only
        ]
        if missing:
            model = self._models.encoder_of(spec)
            embedded = await self._embedder.encode_passages(model, reader, missing, call)
            for at, vector in zip(missing, embedded.vectors, strict=True):
                vectors[at] = vector
        return vectors
