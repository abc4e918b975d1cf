"""Compare what one collection's files say with each other. Nothing is changed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apsw
import numpy as np

from finesieve_server.errors import FinesieveError, InvalidArgument
from finesieve_server.index.database import connect, translated
from finesieve_server.index.directory import Entry
from finesieve_server.index.distances import comparable
from finesieve_server.index.filter_sql import fields_of
from finesieve_server.index.folders import STORE
from finesieve_server.index.formats import format_of
from finesieve_server.index.manifest import MANIFEST, BadSnapshot
from finesieve_server.index.progress import Progress
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import CollectionSpec, Labels
from finesieve_server.index.recovery import trusted_snapshot
from finesieve_server.index.snapshot import Restored
from finesieve_server.index.store import FORMAT, Store, require_uid

CHUNK = 4_096  # passages looked at together
MOST_TOLD = 3  # of the problems that SQLite finds

_ORPHANS = "SELECT count(*) FROM {} WHERE label NOT IN (SELECT label FROM passages)"
# What may not be: each counts rows. `bytes` is the length of an embedding.
_ROWS = {
    "contents without a passage": _ORPHANS.format("contents"),
    "metadata without a passage": _ORPHANS.format("passage_fields"),
    "tokens without a passage": _ORPHANS.format("passage_tokens"),
    "passages without contents": "SELECT count(*) FROM passages"
    " WHERE label NOT IN (SELECT label FROM contents)",
    "passages without an embedding of the right size": "SELECT count(*) FROM passages p"
    " JOIN contents c ON c.label = p.label"
    " WHERE p.context_only = 0 AND coalesce(length(c.embedding), 0) <> :bytes",
    "labels that would be given again": "SELECT count(*) FROM passages WHERE label >"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'passages'), 0)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one part that was looked at."""

    part: str
    problem: str  # empty where it is sound
    note: str = ""


class Problem(Exception):
    """What is wrong with a part."""


def audit(entry: Entry, progress: Progress) -> Iterator[Finding]:
    """Look at all of a collection; nobody else may use its folder."""
    if entry.damage:
        yield Finding("catalog", entry.damage)
        return
    path = entry.folder / STORE
    try:
        connection = connect(path)
    except FinesieveError as error:
        yield Finding("store", str(error))
        return
    try:
        yield from _findings(entry, path, connection, progress)
    except (FinesieveError, apsw.Error) as error:
        yield Finding("store", f"cannot be read: {error}")
    finally:
        connection.close()


def audit_pages(path: Path, connection: apsw.Connection) -> str:
    """Look at the structure of a database. Raises Problem, FinesieveError."""
    with translated(path, connection):
        told = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    if told != ["ok"]:
        raise Problem("; ".join(told[:MOST_TOLD]))
    return ""


def _findings(
    entry: Entry, path: Path, connection: apsw.Connection, progress: Progress
) -> Iterator[Finding]:
    progress("pages", 0, 1)
    pages = _finding("pages", partial(audit_pages, path, connection))
    yield pages
    if pages.problem:
        return
    form = _finding("format", partial(_format, path, connection))
    if form.problem or form.note:
        yield form
        return
    yield _finding("identity", partial(_identity, entry, path, connection))
    reader = Reader(connection)
    with translated(path, connection):
        labels = reader.labels_to_retrieve()
    yield _finding("rows", partial(_rows, connection, entry.spec))
    yield _finding("metadata", partial(_metadata, connection, progress))
    yield _finding("words", partial(_words, reader, labels, progress))
    restored: list[Restored] = []
    yield _finding("snapshot", partial(_snapshot, entry, labels, restored, progress))
    yield _finding(
        "embeddings", partial(_embeddings, reader, labels, entry.spec, restored, progress)
    )


def _finding(part: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(part, "", look())
    except (Problem, FinesieveError) as problem:
        return Finding(part, str(problem))
    except (apsw.Error, ValueError) as problem:  # of text that is no UTF-8 or no JSON, too
        return Finding(part, f"cannot be read: {problem}")


def _format(path: Path, connection: apsw.Connection) -> str:
    with translated(path, connection):
        found = format_of(connection, path, FORMAT)
    return f"{found}; the next start upgrades it, check it again then" if found != FORMAT else ""


def _identity(entry: Entry, path: Path, connection: apsw.Connection) -> str:
    with translated(path, connection):
        require_uid(path, entry.uid, connection.execute("SELECT uid FROM collection").get)
    return ""


def _rows(connection: apsw.Connection, spec: CollectionSpec) -> str:
    counts = {
        problem: connection.execute(count, {"bytes": spec.dimension * 4}).get
        for problem, count in _ROWS.items()
    }
    problems = [f"{count} {problem}" for problem, count in counts.items() if count]
    if problems:
        raise Problem("; ".join(problems))
    count: int = connection.execute("SELECT count(*) FROM passages").get
    return f"{count} passages"


def _metadata(connection: apsw.Connection, progress: Progress) -> str:
    """Compare the fields that filters ask with the metadata that they were made from."""
    last: int = connection.execute("SELECT max(label) FROM contents").get or 0
    for start in range(0, last + 1, CHUNK):
        progress("metadata", start, last)
        bounds = (start, start + CHUNK)
        fields = set(
            connection.execute(
                "SELECT label, field, value FROM passage_fields WHERE label >= ? AND label < ?",
                bounds,
            )
        )
        expected = {
            (label, field, value)
            for label, metadata in connection.execute(
                "SELECT label, metadata FROM contents WHERE label >= ? AND label < ?", bounds
            )
            for field, value in fields_of(json.loads(metadata))
        }
        if fields != expected:
            label = min(label for label, *_ in fields ^ expected)
            raise Problem(f"what filters ask of label {label} differs from its metadata")
    return ""


def _words(reader: Reader, labels: Labels, progress: Progress) -> str:
    progress("words", 0, len(labels))
    reader.lexical.require_equal(labels, reader.texts)
    return ""


def _snapshot(entry: Entry, labels: Labels, restored: list[Restored], progress: Progress) -> str:
    """Verify and load it as a start would, into `restored`."""
    store = Store(entry.folder / STORE)
    try:
        if not store.generation and not (entry.folder / MANIFEST).exists():
            return "none yet"
        restored.append(trusted_snapshot(entry.folder, store, entry.spec, labels, progress))
    except BadSnapshot as problem:
        raise Problem(f"{problem}; a start makes it again, and so does rebuild") from None
    finally:
        store.close()
    return f"{restored[0].graph.live} vectors in the graph"


def _embeddings(
    reader: Reader,
    labels: Labels,
    spec: CollectionSpec,
    restored: list[Restored],
    progress: Progress,
) -> str:
    """Look at every embedding, and whether the snapshot has the same."""
    for start in range(0, len(labels), CHUNK):
        progress("embeddings", start, len(labels))
        try:
            found = list(reader.embeddings(labels[start : start + CHUNK]))
            names = [f"the embedding of label {label}" for label, _ in found]
            matrix = comparable([each for _, each in found], names, spec.dimension, spec.distance)
        except (InvalidArgument, ValueError) as error:
            raise Problem(str(error)) from None
        for snapshot in restored:
            ours = np.array([label for label, _ in found], np.int64)
            slots = np.searchsorted(snapshot.labels, ours[ours <= snapshot.labels[-1]])
            saved = np.memmap(snapshot.vectors_path, np.float32, "r").reshape(-1, spec.dimension)
            if not np.array_equal(saved[slots], matrix[: len(slots)]):
                raise Problem("vectors of the snapshot differ from the embeddings")
    return f"{len(labels)} embeddings"
