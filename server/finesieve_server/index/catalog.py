"""Know which collections there are: one row each in a small database, one folder each beside it.

The row is the truth. A folder is made before its row and removed after it, so that a crash
leaves at most a folder without a row, which the next start removes.
"""

import asyncio
import fcntl
import json
import os
import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import structlog

from finesieve_server.errors import (
    AlreadyExists,
    CollectionNotFound,
    FailedPrecondition,
    Unavailable,
)
from finesieve_server.index.collection import Collection, Workers
from finesieve_server.index.database import connect, require_format, transaction, translated
from finesieve_server.index.engine import STORE
from finesieve_server.index.records import CollectionSpec, Distance, HnswOptions
from finesieve_server.index.snapshot import sync_folder
from finesieve_server.index.store import Store

FORMAT = 1
READERS = 4  # searches and reads at a time, over all collections

_SCHEMA = f"""
CREATE TABLE collections (
    uid TEXT PRIMARY KEY,  -- its folder's name
    name TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,  -- JSON
    create_us INTEGER NOT NULL  -- microseconds since 1970, UTC
) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
"""

_log = structlog.get_logger(__name__)


class Catalog:
    """The collections of one data directory, which no other process may use meanwhile."""

    def __init__(self, data_dir: Path) -> None:
        """Lock and read the directory; blocks. Catalog.open is the way in."""
        self._folder = data_dir / "collections"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(data_dir)
        cores = os.cpu_count() or 1
        self._readers = ThreadPoolExecutor(max(READERS, cores), "reader")
        self._workers = Workers(self._readers, threading.Semaphore(1), cores)
        self._collections: dict[str, Collection] = {}
        self._changing = asyncio.Lock()
        self._closed = False
        self._path = data_dir / "catalog.db"
        try:
            self._database = _open_database(self._path)
        except BaseException:
            os.close(self._lock_file)
            raise

    @classmethod
    async def open(cls, data_dir: Path) -> "Catalog":
        """Open every collection of a directory, which is made if it does not exist.

        Raises FailedPrecondition where another process uses it, or a newer version wrote it.
        """
        loop = asyncio.get_running_loop()
        catalog = await loop.run_in_executor(None, cls, data_dir)
        try:
            rows = await loop.run_in_executor(None, catalog._read)
            opened = await asyncio.gather(
                *(
                    loop.run_in_executor(catalog._readers, Collection, *row, catalog._workers)
                    for row in rows
                )
            )
        except BaseException:
            await catalog.close()
            raise
        catalog._collections = {collection.spec.name: collection for collection in opened}
        return catalog

    async def create(self, spec: CollectionSpec) -> Collection:
        """Make an empty collection. Raises AlreadyExists."""
        # Shielded: where the caller gives up, there is a whole collection or none all the same.
        return await asyncio.shield(self._create(spec))

    def get(self, name: str) -> Collection:
        """Return a collection. Raises CollectionNotFound."""
        collection = self._collections.get(name)
        if collection is None:
            raise CollectionNotFound(name)
        return collection

    def page(self, after: str, limit: int) -> list[Collection]:
        """Return up to `limit` collections with names beyond `after`, in the order of names."""
        names = sorted(name for name in self._collections if name > after)
        return [self._collections[name] for name in names[:limit]]

    async def delete(self, name: str) -> None:
        """Delete a collection with all its passages. Raises CollectionNotFound."""
        await asyncio.shield(self._delete(name))

    async def close(self) -> None:
        """Finish all writes, save the indexes, and give the directory up."""
        async with self._changing:
            self._closed = True
            closing = [collection.close() for collection in self._collections.values()]
            failures = [
                failure
                for failure in await asyncio.gather(*closing, return_exceptions=True)
                if failure is not None
            ]
            await asyncio.get_running_loop().run_in_executor(None, self._let_go)
        if failures:
            raise failures[0]

    async def _create(self, spec: CollectionSpec) -> Collection:
        async with self._changing:
            self._require_open()
            if spec.name in self._collections:
                raise AlreadyExists(f"a collection {spec.name!r} exists already")
            loop = asyncio.get_running_loop()
            collection = await loop.run_in_executor(None, self._make, spec)
            self._collections[spec.name] = collection
            return collection

    async def _delete(self, name: str) -> None:
        async with self._changing:
            self._require_open()
            collection = self.get(name)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._remove_row, name)
            del self._collections[name]
            await collection.close(deleted=True)
            await loop.run_in_executor(None, shutil.rmtree, collection.folder)

    def _make(self, spec: CollectionSpec) -> Collection:
        uid = uuid.uuid4().hex
        folder = self._folder / uid
        now_us = time.time_ns() // 1000
        folder.mkdir()
        try:
            Store.create(folder / STORE, uid)
            sync_folder(folder)
            sync_folder(self._folder)
            collection = Collection(spec, _time(now_us), folder, self._workers)
            try:
                with translated(self._path, self._database), transaction(self._database):
                    self._database.execute(
                        "INSERT INTO collections VALUES (?, ?, ?, ?)",
                        (uid, spec.name, _encode(spec), now_us),
                    )
            except BaseException:
                collection.let_go(save=False)
                raise
        except BaseException:
            shutil.rmtree(folder)
            raise
        return collection

    def _remove_row(self, name: str) -> None:
        with translated(self._path, self._database), transaction(self._database):
            self._database.execute("DELETE FROM collections WHERE name = ?", (name,))

    def _read(self) -> list[tuple[CollectionSpec, datetime, Path]]:
        """Return what to open, having removed every folder that no row names."""
        with translated(self._path, self._database):
            rows = self._database.execute("SELECT uid, spec, create_us FROM collections").fetchall()
        named = {uid for uid, _, _ in rows}
        for folder in self._folder.iterdir():
            if folder.name not in named:
                _log.info("orphan folder removed", folder=folder.name)
                shutil.rmtree(folder)
        return [
            (_decode(spec), _time(create_us), self._folder / uid) for uid, spec, create_us in rows
        ]

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("the server is stopping")

    def _let_go(self) -> None:
        self._readers.shutdown(wait=True)
        self._database.close()
        os.close(self._lock_file)


def _open_database(path: Path) -> apsw.Connection:
    new = not path.exists()
    database = connect(path, create=True)
    try:
        with translated(path, database):
            if new:
                with transaction(database):
                    database.execute(_SCHEMA)
            require_format(database, path, FORMAT)
            # The log is used from its start for every commit, and so takes no more room: a
            # collection can be deleted on a full disk.
            database.execute("PRAGMA wal_autocheckpoint = 1")
    except BaseException:
        database.close()
        raise
    return database


def _lock(data_dir: Path) -> int:
    lock_file = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_file)
        raise FailedPrecondition(
            f"{data_dir} is in use by another server; stop that or choose another data directory"
        ) from None
    return lock_file


def _encode(spec: CollectionSpec) -> str:
    return json.dumps({**asdict(spec), "distance": spec.distance.value})


def _decode(text: str) -> CollectionSpec:
    fields: dict[str, Any] = json.loads(text)
    fields["distance"] = Distance(fields["distance"])
    fields["hnsw"] = HnswOptions(**fields["hnsw"])
    return CollectionSpec(**fields)


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
