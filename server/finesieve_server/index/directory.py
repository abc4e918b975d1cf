"""Own a data directory: its lock, the catalog's rows, and one folder per row.

The row is the truth. A folder is made before its row and removed after it, so that a crash
leaves at most a folder without a row. The next start removes one that is empty or marked as
deleted; one that holds passages stays, because it may be the catalog that is damaged. So does
whatever else lies among the folders: somebody put it there.
"""

import fcntl
import json
import os
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import structlog

from finesieve_server.errors import DataLoss, FailedPrecondition
from finesieve_server.index.database import connect, transaction, translated
from finesieve_server.index.folders import (
    DELETED,
    STORE,
    UID,
    holds_nothing,
    mark_of,
    of_collections,
    remove,
)
from finesieve_server.index.formats import upgrade
from finesieve_server.index.manifest import sync_folder
from finesieve_server.index.progress import logged
from finesieve_server.index.records import CollectionSpec, Distance, HnswOptions
from finesieve_server.index.store import Store

FORMAT = 1
CATALOG = "catalog.db"
COLLECTIONS = "collections"
LOCK = "lock"
WHAT_TO_DO = "put the catalog.db of a backup in its place, or start with another data directory"

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
    damage: str = ""  # why the row cannot be read; the spec holds nothing but its name then


class Directory:
    """A data directory that this process alone uses. Everything here blocks."""

    def __init__(self, path: Path) -> None:
        """Lock and read the directory, making it if it does not exist.

        Raises FailedPrecondition where it cannot be made or written, another process uses it, or
        a newer version wrote it;
        DataLoss where there are collections and the catalog is empty or damaged.
        """
        self._folders = path / COLLECTIONS
        self._path = path / CATALOG
        try:
            with translated(self._path):
                self._folders.mkdir(parents=True, exist_ok=True)
                self._lock_file = _lock(path)
        except OSError as error:
            raise FailedPrecondition(
                f"{path} cannot be a data directory: {error.strerror}; name a folder that may be "
                "written, or made"
            ) from error
        try:
            self._database = _open_database(self._path, new=not of_collections(self._folders))
        except BaseException:
            os.close(self._lock_file)
            raise

    def entries(self) -> list[Entry]:
        """Return every collection, by name, those with a damaged row too."""
        # As bytes: text that is not UTF-8 is the damage of one row.
        read = (
            "SELECT CAST(uid AS BLOB), CAST(name AS BLOB), CAST(spec AS BLOB), create_us"
            " FROM collections ORDER BY name"
        )
        with translated(self._path, self._database):
            rows = self._database.execute(read).fetchall()
        return [self._entry(*row) for row in rows]

    def orphans(self) -> list[Path]:
        """Return each folder of a collection that no row names."""
        named = {entry.folder for entry in self.entries()}
        return [folder for folder in of_collections(self._folders) if folder not in named]

    def remove_orphans(self) -> None:
        """Remove what a crash left of a creation or a deletion, and nothing else."""
        for folder in self.orphans():
            if mark_of(folder).exists() or holds_nothing(folder):
                _log.info("orphan folder removed", folder=folder.name)
                remove(folder)
            else:
                _log.warning("folder not in the catalog", folder=str(folder))
        ours = of_collections(self._folders)
        for path in sorted(set(self._folders.iterdir()) - set(ours)):
            if path.name.endswith(DELETED) and UID.fullmatch(path.stem) and path.is_file():
                path.unlink()
            else:
                _log.warning("not a collection's folder; left as it is", path=str(path))

    def make_folder(self, spec: CollectionSpec) -> Entry:
        """Make the folder and the empty store of a collection that has no row yet."""
        uid = uuid.uuid4().hex
        create_time = datetime.fromtimestamp(time.time_ns() // 1000 / 1e6, UTC)
        entry = Entry(uid, spec, create_time, self._folders / uid)
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
        with translated(self._path, self._database):
            mark_of(entry.folder).touch()
            sync_folder(self._folders)
            try:
                with transaction(self._database):
                    self._database.execute(
                        "DELETE FROM collections WHERE name = ?", (entry.spec.name,)
                    )
            except BaseException:
                mark_of(entry.folder).unlink()
                raise

    def remove_folder(self, entry: Entry) -> None:
        """Remove all files of a collection without a row."""
        remove(entry.folder)
        mark_of(entry.folder).unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the directory."""
        self._database.close()
        os.close(self._lock_file)

    def _entry(self, uid: Any, name: Any, spec: Any, create_us: Any) -> Entry:
        text = uid.decode(errors="replace")
        try:
            decoded = _decode(spec.decode())
            if not UID.fullmatch(text) or decoded.name.encode() != name:
                raise ValueError("its names do not agree")
            create_time = datetime.fromtimestamp(create_us / 1e6, UTC)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError) as error:
            unknown = CollectionSpec(
                name.decode(errors="replace"), "", "", 0, Distance.COSINE, HnswOptions(), False
            )
            # Whatever the row says, the folder is none outside.
            folder = self._folders / (text if UID.fullmatch(text) else f"damaged-{uid.hex()}")
            damage = f"its row in {self._path} is damaged: {error}; {WHAT_TO_DO}"
            return Entry(text, unknown, datetime.fromtimestamp(0, UTC), folder, damage)
        return Entry(text, decoded, create_time, self._folders / text)


def require_content(path: Path) -> None:
    """Raise DataLoss where a catalog holds nothing at all; its file must exist."""
    # Looked at first: SQLite removes the log of an empty file when it opens it.
    if path.stat().st_size:
        connection = connect(path)
        try:
            with translated(path, connection):
                if connection.execute("SELECT count(*) FROM sqlite_schema").get:
                    return
        finally:
            connection.close()
    raise DataLoss(f"{path} is damaged: it holds nothing; {WHAT_TO_DO}")


def _open_database(path: Path, *, new: bool) -> apsw.Connection:
    """Open the catalog; only where it may be `new` is it made."""
    if not new:
        if not path.exists():
            raise DataLoss(f"{path} is missing, and there are collections; {WHAT_TO_DO}")
        require_content(path)
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
