"""Create, describe and remove collections: what a new one gets where its caller left it open."""

import asyncio

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import CollectionInfo, CollectionSpec, Distance, HnswOptions
from finesieve_server.search.index import Catalog
from finesieve_server.search.models import Models

_MAX_DIMENSION = 16_384


class Collections:
    """The collections of one server."""

    def __init__(self, catalog: Catalog, models: Models) -> None:
        self._catalog = catalog
        self._models = models

    async def create(
        self,
        name: str,
        *,
        embedding_model: str,
        dimension: int,
        distance: Distance | None,
        hnsw: HnswOptions,
        caller_embeds: bool,
    ) -> CollectionInfo:
        """Return the new, empty collection.

        `dimension` 0 and `distance` None mean the model's. Raises AlreadyExists, InvalidArgument,
        and what Models raises.
        """
        fingerprint = ""
        if caller_embeds:
            if embedding_model:
                raise InvalidArgument("embedding_model", "must be empty where the caller embeds")
            if not 1 <= dimension <= _MAX_DIMENSION:
                raise InvalidArgument(
                    "dimension",
                    f"is {dimension}; where the caller embeds, 1..{_MAX_DIMENSION} are allowed",
                )
        else:
            manifest = self._models.bi_encoder(embedding_model).manifest
            if dimension not in (0, manifest.dimension):
                raise InvalidArgument(
                    "dimension",
                    f"is {dimension}; model {manifest.name!r} makes {manifest.dimension}",
                )
            embedding_model, dimension = manifest.name, manifest.dimension
            fingerprint = manifest.fingerprint
        spec = CollectionSpec(
            name=name,
            embedding_model=embedding_model,
            fingerprint=fingerprint,
            dimension=dimension,
            distance=distance or Distance.COSINE,
            hnsw=hnsw,
            caller_embeds=caller_embeds,
        )
        created = await self._catalog.create(spec)
        return await created.info()

    async def get(self, name: str) -> CollectionInfo:
        """Raises CollectionNotFound."""
        collection = await self._catalog.get(name)
        return await collection.info()

    async def page(self, after: str, limit: int) -> list[CollectionInfo]:
        """Return up to `limit` collections by name, from the first name greater than `after`."""
        page = await self._catalog.page(after, limit)
        return list(await asyncio.gather(*(each.info() for each in page)))

    async def delete(self, name: str) -> None:
        """Remove the collection and everything in it. Raises CollectionNotFound."""
        await self._catalog.delete(name)
