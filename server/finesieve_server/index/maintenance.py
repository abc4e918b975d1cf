"""Look after a data directory that no server uses: check it, or make its indexes again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finesieve_server.errors import CollectionNotFound, DataLoss, FailedPrecondition, FinesieveError
from finesieve_server.index.audit import Finding, Problem, audit, audit_pages
from finesieve_server.index.database import connect
from finesieve_server.index.directory import (
    CATALOG,
    WHAT_TO_DO,
    Directory,
    Entry,
    require_content,
)
from finesieve_server.index.folders import STORE
from finesieve_server.index.manifest import MANIFEST
from finesieve_server.index.progress import Progress
from finesieve_server.index.recovery import fill, new_vectors_path
from finesieve_server.index.snapshot import remove_unnamed, save
from finesieve_server.index.store import Store, require_uid
from finesieve_server.index.vectors import Vectors

ProgressOf = Callable[[str], Progress]  # of the collection of this name


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of one collection's indexes."""

    name: str
    vectors: int
    problem: str = ""  # why they could not be made; empty where they were


def check(data_dir: Path, progress_of: ProgressOf) -> Iterator[tuple[str, Finding]]:
    """Yield what was found in each collection, by name; "" stands for the catalog.

    Raises FailedPrecondition where a server uses the directory, or there is none.
    """
    require_directory(data_dir)
    catalog = _catalog_finding(data_dir / CATALOG)
    if catalog.problem:
        yield "", catalog
        return
    with _opened(data_dir) as directory:
        entries = directory.entries()
        yield "", Finding("catalog", "", f"{len(entries)} collections")
        for folder in directory.orphans():
            yield (
                "",
                Finding(f"folder {folder.name}", f"the catalog does not name it; {WHAT_TO_DO}"),
            )
        for entry in entries:
            for finding in audit(entry, progress_of(entry.spec.name)):
                yield entry.spec.name, finding


def rebuild(
    data_dir: Path, name: str | None, threads: int, progress_of: ProgressOf
) -> Iterator[Rebuilt]:
    """Make all indexes of one collection again, or of all; one's problem does not stop the others.

    Raises CollectionNotFound, FailedPrecondition, DataLoss where the catalog is damaged.
    """
    require_directory(data_dir)
    with _opened(data_dir) as directory:
        entries = [entry for entry in directory.entries() if name in (None, entry.spec.name)]
        if name is not None and not entries:
            raise CollectionNotFound(name)
        for entry in entries:
            try:
                vectors = _rebuild(entry, threads, progress_of(entry.spec.name))
            except (FinesieveError, OSError) as problem:
                yield Rebuilt(entry.spec.name, 0, str(problem))
            else:
                yield Rebuilt(entry.spec.name, vectors)


def require_directory(data_dir: Path) -> None:
    """Raise FailedPrecondition where nothing was ever kept."""
    if not (data_dir / CATALOG).is_file():
        raise FailedPrecondition(f"{data_dir} is no data directory: it holds no {CATALOG}")


def _catalog_finding(path: Path) -> Finding:
    try:
        require_content(path)
        connection = connect(path)
        try:
            return Finding("catalog", "", audit_pages(path, connection))
        finally:
            connection.close()
    except (Problem, FinesieveError) as problem:
        return Finding("catalog", str(problem))


@contextmanager
def _opened(data_dir: Path) -> Iterator[Directory]:
    directory = Directory(data_dir)
    try:
        yield directory
    finally:
        directory.close()


def _rebuild(entry: Entry, threads: int, progress: Progress) -> int:
    if entry.damage:
        raise DataLoss(entry.damage)
    folder, spec = entry.folder, entry.spec
    store = Store(folder / STORE)
    try:
        require_uid(store.path, entry.uid, store.uid)
        store.upgrade(progress)
        with store.writing() as writer:
            writer.rebuild_lexical(progress)
        with store.reading() as reader:
            labels = reader.labels_to_retrieve()
        (folder / MANIFEST).unlink(missing_ok=True)
        vectors = Vectors(new_vectors_path(folder), spec.dimension, spec.distance, spec.hnsw)
        try:
            fill(vectors, store, labels, spec, progress)
            while vectors.advance(threads):
                progress("graph", vectors.graphed, vectors.count)
            if vectors.graph is None:
                remove_unnamed(folder, {vectors.path.name})
            else:
                progress("snapshot", 0, 1)
                save(folder, store.uid, spec, vectors, store.generation + 1)
                store.record_generation(store.generation + 1)
        finally:
            vectors.close()
    finally:
        store.close()
    return len(labels)
