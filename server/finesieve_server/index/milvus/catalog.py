"""Find, make and delete the collections that Milvus holds for us, among any others there."""

import asyncio
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from finesieve_server.errors import (
    AlreadyExists,
    CollectionNotFound,
    FailedPrecondition,
    Unavailable,
)
from finesieve_server.index.milvus import schema
from finesieve_server.index.milvus.collection import Collection
from finesieve_server.index.milvus.connection import Address, Caller, Connection
from finesieve_server.index.milvus.reader import Reader
from finesieve_server.index.records import CollectionSpec

# Other servers share this Milvus: how long ago a collection may have been asked for, to be
# believed to be what it was.
_FRESH_S = 5.0


@dataclass(frozen=True, slots=True)
class _Known:
    collection: Collection
    properties: dict[str, Any]
    asked_s: float  # by time.monotonic()


class Catalog:
    """The collections of one Milvus database that finesieve made."""

    def __init__(self, connection: Connection) -> None:
        """Take over what Catalog.open has connected."""
        self._connection = connection
        self._known: dict[str, _Known] = {}
        self._changing = asyncio.Lock()
        self._closed = False

    @classmethod
    async def open(cls, address: Address) -> "Catalog":
        """Connect. Raises Unavailable where Milvus does not answer."""
        return cls(await asyncio.to_thread(Connection, address))

    async def get(self, name: str) -> Collection:
        """Return a collection. Raises CollectionNotFound, FailedPrecondition for another format."""
        known = self._known.get(name)
        if known is not None and time.monotonic() - known.asked_s < _FRESH_S:
            return known.collection
        self._require_open()
        found = await self._connection.run(lambda call: _properties(call, name), name)
        return self._remembered(name, found)

    async def page(self, after: str, limit: int) -> list[Collection]:
        """Return up to `limit` collections with names beyond `after`, in the order of names."""
        self._require_open()
        listed = await self._connection.run(lambda call: call("list_collections"), "")
        names = sorted(filter(None, map(schema.our_name, listed)))
        page: list[Collection] = []
        for name in names:
            if name > after and len(page) < limit:
                try:
                    page.append(await self.get(name))
                except (CollectionNotFound, FailedPrecondition):
                    continue  # somebody else's, another version's, or deleted meanwhile
        return page

    async def create(self, spec: CollectionSpec) -> Collection:
        """Make an empty collection. Raises AlreadyExists."""
        # Shielded: where the caller gives up, there is a whole collection or none all the same.
        return await asyncio.shield(self._create(spec))

    async def delete(self, name: str) -> None:
        """Delete a collection with all its passages. Raises CollectionNotFound."""
        await asyncio.shield(self._delete(name))

    async def close(self) -> None:
        """Finish all writes, and hang up."""
        async with self._changing:
            if self._closed:
                return
            self._closed = True
            for known in self._known.values():
                await asyncio.to_thread(known.collection.close)
            await asyncio.to_thread(self._connection.close)

    async def _create(self, spec: CollectionSpec) -> Collection:
        async with self._changing:
            self._require_open()
            await self._connection.run(lambda call: _make(call, spec), spec.name)
            return await self.get(spec.name)

    async def _delete(self, name: str) -> None:
        async with self._changing:
            collection = await self.get(name)
            del self._known[name]
            await asyncio.to_thread(collection.close, CollectionNotFound(name))
            await self._connection.run(
                lambda call: call("drop_collection", schema.milvus_name(name)), name
            )

    def _remembered(self, name: str, properties: dict[str, Any]) -> Collection:
        """Return the collection: the one that is known, where it still is the same."""
        known = self._known.get(name)
        if known is not None and known.properties == properties:
            collection = known.collection
        else:
            ours = schema.read_properties(properties)
            if ours is None:
                raise CollectionNotFound(name)
            collection = Collection(self._connection, *ours)
        self._known[name] = _Known(collection, properties, time.monotonic())
        return collection

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the server is stopping")


def _properties(call: Caller, name: str) -> dict[str, Any]:
    """Return what a Milvus collection is said to be, and have it loaded if it is ours."""
    milvus_name = schema.milvus_name(name)
    properties = dict(call("describe_collection", milvus_name)["properties"])
    if schema.read_properties(properties) and not Reader(call, milvus_name).is_loaded():
        call("load_collection", milvus_name, _async=True)
    return properties


def _make(call: Caller, spec: CollectionSpec) -> None:
    milvus_name = schema.milvus_name(spec.name)
    exists = AlreadyExists(f"a collection {spec.name!r} exists already")
    if call("has_collection", milvus_name):
        raise exists
    # milvus-lite has no index over arrays, and walks them.
    walks_arrays = "lite" in call("get_server_version")
    creation = uuid.uuid4().hex
    try:
        call(
            "create_collection",
            milvus_name,
            schema=schema.schema_of(spec),
            index_params=schema.indexes_of(spec, of_terms=not walks_arrays),
            properties=schema.properties_of(spec, datetime.now(UTC), creation),
            consistency_level=call.address.consistency,
        )
    except BaseException:
        found = _creation(call, milvus_name)
        if found == creation:
            call("drop_collection", milvus_name)  # what was made of it
        elif found is not None:
            raise exists from None
        raise
    # Milvus answers well, too, where there is one with equal parameters.
    if _creation(call, milvus_name) != creation:
        raise exists


def _creation(call: Caller, milvus_name: str) -> str | None:
    """Return which call made a Milvus collection, "" where it was none of ours; None: no such."""
    try:
        properties = dict(call("describe_collection", milvus_name)["properties"])
    except CollectionNotFound:
        return None
    return str(properties.get(schema.CREATION, ""))
