"""Open SQLite so that a commit is durable, and say its failures in the server's own errors.

Every connection of the index is made here. What the tables mean is left to store and catalog.
"""

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path

import apsw

from finesieve_server.errors import DataLoss, FinesieveError, StorageFull, Unavailable

BUSY_TIMEOUT_MS = 10_000
CHECKPOINT_BYTES = 16 << 20  # of log between two copies into the database
CHECK_S = 2.0  # of a file, after an error that its damage may have caused
CHECK_STEPS = 1_000  # of SQLite, pages at most, between two looks at the clock
LEAST_ROOM_BYTES = 64 << 10  # a database cannot be opened in less
LOG_LIMIT_BYTES = 64 << 20  # a longer log, left by a large batch, is cut back
ABANDONED = "nobody waits for this any more"  # and so nobody reads it

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
    except FinesieveError:
        raise
    except (apsw.Error, OSError) as error:
        meant = _meaning(error, path, connection)
        if meant is None:
            raise
        raise meant from error
    except (UnicodeDecodeError, JSONDecodeError) as error:
        raise DataLoss(f"{path} is damaged: {error}") from error  # both were sound when written
    except Exception as error:
        # Rows that make no sense: are they damaged, or is it a mistake of ours?
        if connection is not None and _is_damaged(connection):
            raise DataLoss(f"{path} is damaged: {error!r}") from error
        raise


def _meaning(
    error: apsw.Error | OSError, path: Path, connection: apsw.Connection | None
) -> FinesieveError | None:
    match error:
        case apsw.CorruptError() | apsw.NotADBError():
            return DataLoss(f"{path} is damaged: {error}")
        case apsw.FullError():
            return StorageFull(f"no room to write {path.name}")
        case apsw.IOError() | apsw.CantOpenError() if _out_of_room(path, connection):
            return StorageFull(f"no room to write {path.name}")
        case apsw.CantOpenError():
            return DataLoss(f"{path} cannot be opened: {error}")
        case apsw.IOError():
            return Unavailable(f"the disk failed under {path.name}: {error}")
        case apsw.InterruptError():
            return Unavailable(ABANDONED)
        case apsw.BusyError():
            return Unavailable(f"{path.name} is held by another process: {error}")
        case OSError() if error.errno in _NO_ROOM:
            return StorageFull(f"no room to write beside {path.name}")
        case apsw.Error() if connection is not None and _is_damaged(connection):
            return DataLoss(f"{path} is damaged: {error}")
    return None


def _is_damaged(connection: apsw.Connection) -> bool:
    """Whether a look of CHECK_S at most shows damage: a mistake of ours may come with every call.

    Where SQLite cannot look, because it is busy, interrupted or closed, that says nothing.
    """
    stop_s = time.monotonic() + CHECK_S
    try:
        connection.set_progress_handler(
            lambda: time.monotonic() > stop_s, CHECK_STEPS, id=_is_damaged
        )
        try:
            return bool(connection.execute("PRAGMA quick_check(1)").get != "ok")
        finally:
            connection.set_progress_handler(None, id=_is_damaged)
    except (apsw.CorruptError, apsw.NotADBError):
        return True
    except apsw.Error:
        return False


def _out_of_room(path: Path, connection: apsw.Connection | None) -> bool:
    # SQLite has no code of its own for a full disk where it maps or makes a file.
    known = connection is not None and connection.system_errno in _NO_ROOM
    if not path.parent.exists():
        return False
    return known or shutil.disk_usage(path.parent).free < LEAST_ROOM_BYTES
