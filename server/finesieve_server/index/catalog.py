"""Find, make and delete collections by name, off the event loop."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import structlog

from finesieve_server.errors import AlreadyExists, CollectionNotFound, DataLoss, Unavailable
from finesieve_server.index.collection import Collection
from finesieve_server.index.directory import Directory, Entry
from finesieve_server.index.records import CollectionSpec
from finesieve_server.index.upkeep import SNAPSHOT_CHANGES, Shared

OPENERS = 8  # collections whose indexes are brought back at a time
READERS = 4  # searches and reads at a time, over all collections, at least

_log = structlog.get_logger(__name__)


class Catalog:
    """The collections of one data directory, which no other process may use meanwhile."""

    def __init__(
        self, directory: Directory, shared: Shared, collections: dict[Entry, Collection]
    ) -> None:
        """Take over what Catalog.open has opened."""
        self._directory = directory
        self._shared = shared
        self._entries = {entry.spec.name: entry for entry in collections}
        self._collections = {entry.spec.name: each for entry, each in collections.items()}
        self._openers = ThreadPoolExecutor(OPENERS, "opener")
        self._changing = asyncio.Lock()
        self._closed = False

    @classmethod
    async def open(
        cls, data_dir: Path, *, threads: int = 1, snapshot_changes: int = SNAPSHOT_CHANGES
    ) -> "Catalog":
        """Open every collection of a directory, which is made if it does not exist.

        Their indexes come in the background, small collections first; calls wait for what they
        need. `started` returns when all are there.

        `threads` is how many build a graph, or search it for many queries at once.
        The index is saved on close, and whenever so many vectors came or went, or a tenth of all.

        Raises FailedPrecondition where another process uses it, or a newer version wrote it.
        """
        directory = await asyncio.to_thread(Directory, data_dir)
        readers = ThreadPoolExecutor(max(READERS, 2 * threads), "reader")
        shared = Shared(readers, threading.Semaphore(1), threads, snapshot_changes)
        collections: dict[Entry, Collection] = {}
        try:
            await asyncio.to_thread(directory.remove_orphans)
            entries = await asyncio.to_thread(directory.entries)
            opening = [
                asyncio.get_running_loop().run_in_executor(readers, Collection, entry, shared)
                for entry in entries
            ]
            outcomes = await asyncio.gather(*opening, return_exceptions=True)
            collections = {
                entry: outcome
                for entry, outcome in zip(entries, outcomes, strict=True)
                if isinstance(outcome, Collection)
            }
            failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if failed:
                raise failed[0]
        except BaseException:
            await cls(directory, shared, collections).close()
            raise
        catalog = cls(directory, shared, collections)
        infos = [(await collection.info(), collection) for collection in collections.values()]
        for _, collection in sorted(infos, key=lambda each: each[0].passage_count):
            collection.start(catalog._openers)
        return catalog

    async def started(self) -> None:
        """Return once no call has to wait for an index. Raises what stands in the way of one."""
        await asyncio.gather(*[collection.started() for collection in self._collections.values()])

    async def get(self, name: str) -> Collection:
        """Return a collection. Raises CollectionNotFound."""
        collection = self._collections.get(name)
        if collection is None:
            raise CollectionNotFound(name)
        return collection

    async def page(self, after: str, limit: int) -> list[Collection]:
        """Return up to `limit` collections with names beyond `after`, in the order of names."""
        names = sorted(name for name in self._collections if name > after)
        return [self._collections[name] for name in names[:limit]]

    async def create(self, spec: CollectionSpec) -> Collection:
        """Make an empty collection. Raises AlreadyExists."""
        # Shielded: where the caller gives up, there is a whole collection or none all the same.
        return await asyncio.shield(self._create(spec))

    async def delete(self, name: str) -> None:
        """Delete a collection with all its passages. Raises CollectionNotFound."""
        await asyncio.shield(self._delete(name))

    async def close(self) -> None:
        """Finish all writes, save the indexes, and give the directory up."""
        async with self._changing:
            if self._closed:
                return
            self._closed = True
            closing = [collection.close() for collection in self._collections.values()]
            outcomes = await asyncio.gather(*closing, return_exceptions=True)
            await asyncio.to_thread(self._openers.shutdown)
            await asyncio.to_thread(self._shared.readers.shutdown)
            await asyncio.to_thread(self._directory.close)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failed:
            raise failed[0]

    async def _create(self, spec: CollectionSpec) -> Collection:
        async with self._changing:
            self._require_open()
            if spec.name in self._collections:
                raise AlreadyExists(f"a collection {spec.name!r} exists already")
            with _damage_logged():
                entry, collection = await self._make(spec)
            self._entries[spec.name] = entry
            self._collections[spec.name] = collection
            return collection

    async def _delete(self, name: str) -> None:
        async with self._changing:
            self._require_open()
            collection = await self.get(name)
            entry = self._entries[name]
            with _damage_logged():
                await asyncio.to_thread(self._directory.remove_row, entry)
            del self._collections[name], self._entries[name]
            await collection.close(deleted=True)
            await asyncio.to_thread(self._directory.remove_folder, entry)

    async def _make(self, spec: CollectionSpec) -> tuple[Entry, Collection]:
        entry = await asyncio.to_thread(self._directory.make_folder, spec)
        try:
            collection = await asyncio.to_thread(Collection, entry, self._shared)
            try:
                collection.start(None)
                await collection.started()
                await asyncio.to_thread(self._directory.add_row, entry)
            except BaseException:
                await collection.close(deleted=True)
                raise
        except BaseException:
            await asyncio.to_thread(self._directory.remove_folder, entry)
            raise
        return entry, collection

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the server is stopping")


@contextmanager
def _damage_logged() -> Iterator[None]:
    """Tell where the catalog is damaged in the log alone."""
    try:
        yield
    except DataLoss as error:
        _log.error("catalog damaged", error=str(error))
        raise DataLoss(
            "the list of collections is damaged and is to be restored from a backup; "
            "the server's log says where"
        ) from error
