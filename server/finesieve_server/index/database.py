"""Open SQLite so that a commit is durable, and say its failures in the server's own errors.

Every connection of the index is made here. What the tables mean is left to store and catalog.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from finesieve_server.errors import DataLoss, StorageFull, Unavailable

BUSY_TIMEOUT_MS = 10_000
CHECKPOINT_BYTES = 16 << 20  # of log between two copies into the database
LEAST_ROOM_BYTES = 64 << 10  # a database cannot be opened in less
LOG_LIMIT_BYTES = 64 << 20  # a longer log, left by a large batch, is cut back

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # disk, quota, ulimit -f


def connect(
    path: Path, *, create: bool = False, page_bytes: int = 4 << 10, cache_bytes: int = 4 << 20
) -> apsw.Connection:
    """Return a connection whose commits survive a crash of the machine.

    A connection may move between threads, and serves one at a time. A database keeps the size of
    page that it was created with.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    with translated(path):
        connection = apsw.Connection(str(path), flags=flags)
    try:
        with translated(path, connection):
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.execute(f"PRAGMA page_size = {page_bytes}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # A sort spills to memory: it must work while the disk is full.
            connection.execute("PRAGMA temp_store = MEMORY")
            pages = CHECKPOINT_BYTES // connection.execute("PRAGMA page_size").get
            connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")
            connection.execute(f"PRAGMA cache_size = {-cache_bytes // 1024}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit all that the block writes, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself ends some that fail
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Raise SQLite's and the disk's failures within the block as domain errors."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise DataLoss(f"{path} is damaged: {error}") from error
    except apsw.FullError as error:
        raise StorageFull(f"no room to write {path.name}") from error
    except (apsw.IOError, apsw.CantOpenError) as error:
        if _out_of_room(path, connection):
            raise StorageFull(f"no room to write {path.name}") from error
        if isinstance(error, apsw.CantOpenError):
            raise DataLoss(f"{path} cannot be opened: {error}") from error
        raise Unavailable(f"the disk failed under {path.name}: {error}") from error
    except apsw.InterruptError as error:
        raise Unavailable("nobody waits for this any more") from error
    except apsw.BusyError as error:
        raise Unavailable(f"{path.name} is held by another process: {error}") from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull(f"no room to write beside {path.name}") from error
        raise


def _out_of_room(path: Path, connection: apsw.Connection | None) -> bool:
    # SQLite has no code of its own for a full disk where it maps or makes a file.
    known = connection is not None and connection.system_errno in _NO_ROOM
    return known or shutil.disk_usage(path.parent).free < LEAST_ROOM_BYTES
