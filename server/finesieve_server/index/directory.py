"""Own a data directory: its lock, the catalog's rows, and one folder per row.

The row is the truth. A folder is made before its row and removed after it, so that a crash
leaves at most a folder without a row, which the next start removes.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import structlog

from finesieve_server.errors import FailedPrecondition
from finesieve_server.index.database import connect, transaction, translated
from finesieve_server.index.formats import upgrade
from finesieve_server.index.progress import logged
from finesieve_server.index.records import CollectionSpec, Distance, HnswOptions
from finesieve_server.index.snapshot import sync_folder
from finesieve_server.index.store import Store

FORMAT = 1
CATALOG = "catalog.db"
COLLECTIONS = "collections"
LOCK = "lock"
STORE = "store.db"

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One collection: what it is, since when, and where it lies."""

    uid: str
    spec: CollectionSpec
    create_time: datetime
    folder: Path


class Directory:
    """A data directory that this process alone uses. Everything here blocks."""

    def __init__(self, path: Path) -> None:
        """Lock and read the directory, making it if it does not exist.

        Raises FailedPrecondition where another process uses it, or a newer version wrote it.
        """
        self._folders = path / COLLECTIONS
        self._folders.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(path)
        self._path = path / CATALOG
        try:
            self._database = _open_database(self._path)
        except BaseException:
            os.close(self._lock_file)
            raise

    def entries(self) -> list[Entry]:
        """Return every collection, by name."""
        read = "SELECT uid, spec, create_us FROM collections ORDER BY name"
        with translated(self._path, self._database):
            rows = self._database.execute(read).fetchall()
        return [self._entry(*row) for row in rows]

    def remove_orphans(self) -> None:
        """Remove each folder that no row names."""
        named = {entry.folder for entry in self.entries()}
        for folder in self._folders.iterdir():
            if folder not in named:
                _log.info("orphan folder removed", folder=folder.name)
                shutil.rmtree(folder)

    def make_folder(self, spec: CollectionSpec) -> Entry:
        """Make the folder and the empty store of a collection that has no row yet."""
        uid = uuid.uuid4().hex
        entry = self._entry(uid, _encode(spec), time.time_ns() // 1000)
        entry.folder.mkdir()
        try:
            Store.create(entry.folder / STORE, uid)
            sync_folder(entry.folder)
            sync_folder(self._folders)
        except BaseException:
            self.remove_folder(entry)
            raise
        return entry

    def add_row(self, entry: Entry) -> None:
        """From here on the collection exists."""
        create_us = round(entry.create_time.timestamp() * 1e6)
        with translated(self._path, self._database), transaction(self._database):
            self._database.execute(
                "INSERT INTO collections VALUES (?, ?, ?, ?)",
                (entry.uid, entry.spec.name, _encode(entry.spec), create_us),
            )

    def remove_row(self, entry: Entry) -> None:
        """From here on the collection does not exist."""
        with translated(self._path, self._database), transaction(self._database):
            self._database.execute("DELETE FROM collections WHERE uid = ?", (entry.uid,))

    def remove_folder(self, entry: Entry) -> None:
        """Remove all files of a collection without a row."""
        shutil.rmtree(entry.folder)

    def close(self) -> None:
        """Let another process have the directory."""
        self._database.close()
        os.close(self._lock_file)

    def _entry(self, uid: Any, spec: Any, create_us: Any) -> Entry:
        create_time = datetime.fromtimestamp(create_us / 1e6, UTC)
        return Entry(uid, _decode(spec), create_time, self._folders / uid)


def _open_database(path: Path) -> apsw.Connection:
    database = connect(path, create=True)
    try:
        with translated(path, database):
            with transaction(database):
                if not database.execute("SELECT count(*) FROM sqlite_schema").get:
                    database.execute(_SCHEMA)
            upgrade(database, path, FORMAT, {}, logged("catalog opening"))
            # The log is used from its start for every commit, and so takes no more room: a
            # collection can be deleted on a full disk.
            database.execute("PRAGMA wal_autocheckpoint = 1")
    except BaseException:
        database.close()
        raise
    return database


def _lock(path: Path) -> int:
    lock_file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_file)
        raise FailedPrecondition(
            f"{path} is in use by another server; stop that or choose another data directory"
        ) from None
    return lock_file


def _encode(spec: CollectionSpec) -> str:
    return json.dumps({**asdict(spec), "distance": spec.distance.value})


def _decode(text: str) -> CollectionSpec:
    fields: dict[str, Any] = json.loads(text)
    fields["distance"] = Distance(fields["distance"])
    fields["hnsw"] = HnswOptions(**fields["hnsw"])
    return CollectionSpec(**fields)
