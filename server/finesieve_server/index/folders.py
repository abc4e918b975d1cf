"""Tell the folders of collections from what else lies there, and half made ones from whole ones."""

import errno
import re
import shutil
from pathlib import Path

import apsw
import structlog

from finesieve_server.errors import FinesieveError
from finesieve_server.index.database import connect, translated

STORE = "store.db"
DELETED = ".deleted"  # the suffix of an empty file beside a folder that is being deleted
UID = re.compile("[0-9a-f]{32}")  # a folder's name

_log = structlog.get_logger(__name__)


def of_collections(folders: Path) -> list[Path]:
    """Return those that have the name of one; a catalog names them all, unless it is damaged."""
    folders_in = (path for path in sorted(folders.iterdir()) if path.is_dir())
    return [path for path in folders_in if UID.fullmatch(path.name)]


def mark_of(folder: Path) -> Path:
    """Return the file that says that a folder is being deleted."""
    return folder.with_name(folder.name + DELETED)


def holds_nothing(folder: Path) -> bool:
    """Return whether a creation got no further than this."""
    store = folder / STORE
    try:
        if not all(_of_creation(path) for path in folder.iterdir()):
            return False
        if not store.exists():
            return True
        connection = connect(store)
        try:
            with translated(store, connection):
                if not connection.execute("SELECT count(*) FROM sqlite_schema").get:
                    return True
                return not connection.execute("SELECT count(*) FROM passages").get
        finally:
            connection.close()
    except (FinesieveError, apsw.Error, OSError) as error:
        _log.warning("folder cannot be read", folder=str(folder), error=str(error))
        return False


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it; blocks.

    Again, where something came or went meanwhile: a backup that reads a store makes and removes
    that one's log, until the store itself is gone.
    """
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise


def _of_creation(path: Path) -> bool:
    """Return whether a file is one that a collection without passages has."""
    log = path.name in (STORE, f"{STORE}-wal", f"{STORE}-shm", f"{STORE}-journal")
    return log or (path.match("vectors-*.f32") and not path.stat().st_size)
