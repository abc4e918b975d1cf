"""Copy a data directory while a server may be writing to it.

Each database is copied as it is at one moment, so that no batch is there by half. The newest
snapshot that was whole shortly before comes along; the start adds what came after it.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from finesieve_server.errors import DataLoss, FailedPrecondition
from finesieve_server.index import snapshot
from finesieve_server.index.database import connect, translated
from finesieve_server.index.directory import CATALOG, COLLECTIONS, LOCK, Directory
from finesieve_server.index.folders import STORE
from finesieve_server.index.maintenance import ProgressOf, require_directory
from finesieve_server.index.manifest import BadSnapshot, sync_folder
from finesieve_server.index.progress import Progress

PROGRESS_STEPS = 1_000_000  # of SQLite's machine

_GENERATION = "SELECT generation FROM collection"


@dataclass(frozen=True, slots=True)
class Copied:
    """One collection of a backup."""

    name: str
    passages: int
    with_snapshot: bool


def backup(data_dir: Path, to: Path, progress_of: ProgressOf) -> list[Copied]:
    """Copy all collections to a folder that is new or empty; return what was copied.

    What was answered before the call is in the copy. Raises FailedPrecondition, DataLoss where a
    store is damaged, StorageFull; there is no folder then that could be taken for a backup.
    """
    require_directory(data_dir)
    to = to.absolute()
    if to.resolve().is_relative_to(data_dir.resolve()):
        raise FailedPrecondition(
            f"{to} lies in the data directory; name a folder elsewhere for the backup"
        )
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise FailedPrecondition(f"{to} is not empty; name a new folder for the backup")
    if to.is_mount():
        raise FailedPrecondition(f"{to} is a mount point; name a folder in it for the backup")
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    try:
        with translated(partial):
            to.parent.mkdir(parents=True, exist_ok=True)
            partial.mkdir()
    except OSError as error:
        raise FailedPrecondition(
            f"{to} cannot be made: {error.strerror}; name a folder elsewhere for the backup"
        ) from error
    try:
        with translated(partial / CATALOG):
            copied = _copy(data_dir, partial, progress_of)
            _sync(partial)
            partial.rename(to)  # takes the place of an empty one
            sync_folder(to.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return copied


def _copy(data_dir: Path, partial: Path, progress_of: ProgressOf) -> list[Copied]:
    # The catalog first: a collection that is made later is not part of the backup.
    _copy_database(data_dir / CATALOG, partial / CATALOG, progress_of("catalog"))
    directory = Directory(partial)
    copied = []
    try:
        for entry in directory.entries():
            if entry.damage:
                raise DataLoss(entry.damage)
            source = data_dir / COLLECTIONS / entry.uid
            entry.folder.mkdir()
            try:
                passages, whole = _copy_collection(
                    source, entry.folder, progress_of(entry.spec.name)
                )
            except (DataLoss, FileNotFoundError):
                if _exists(data_dir / CATALOG, entry.uid):
                    raise
                directory.remove_row(entry)  # it was deleted meanwhile
                directory.remove_folder(entry)
            else:
                copied.append(Copied(entry.spec.name, passages, whole))
    finally:
        directory.close()
    (partial / LOCK).unlink()
    return copied


def _copy_collection(source: Path, target: Path, progress: Progress) -> tuple[int, bool]:
    """Return how many passages there are, and whether the snapshot came along."""
    # The snapshot first: the store may have newer passages than its snapshot, never older ones.
    noted = _generation(source / STORE)
    try:
        generation = snapshot.copy(source, target, progress)
    except BadSnapshot:
        generation = -1
    _copy_database(source / STORE, target / STORE, progress)
    connection = connect(target / STORE)
    try:
        with translated(target / STORE, connection):
            newest: int = connection.execute(_GENERATION).get
            passages: int = connection.execute("SELECT count(*) FROM passages").get
            # Others may have been saved since: for the copied store this one is the newest. One
            # that is older than what the store had noted before was put there, and fits nothing.
            fits = noted <= generation <= newest + 1
            if fits and generation < newest:
                connection.execute("UPDATE collection SET generation = ?", (generation,))
    finally:
        connection.close()
    if not fits:
        snapshot.remove(target)
    return passages, fits


def _generation(store: Path) -> int:
    connection = connect(store)
    try:
        with translated(store, connection):
            generation: int = connection.execute(_GENERATION).get
    finally:
        connection.close()
    return generation


def _copy_database(source: Path, target: Path, progress: Progress) -> None:
    connection = connect(source)
    try:
        with translated(source, connection):
            pages: int = connection.execute("PRAGMA page_count").get
            size: int = connection.execute("PRAGMA page_size").get

            def told() -> bool:
                progress(f"copy of {source.name}", target.stat().st_size, pages * size)
                return False

            connection.set_progress_handler(told, PROGRESS_STEPS)
            # One view of the source, however long it takes: writes go on beside it.
            connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()


def _exists(catalog: Path, uid: str) -> bool:
    connection = connect(catalog)
    try:
        with translated(catalog, connection):
            count = connection.execute("SELECT count(*) FROM collections WHERE uid = ?", (uid,))
            return bool(count.get)
    finally:
        connection.close()


def _sync(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)
