"""Hold the passages of one collection durably: the truth that every index is made from.

One thread writes, several read. A passage has a label, a number that is never used again:
an update takes the passage's place under a new one. Vectors and graphs are left to others.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apsw
import numpy as np
import structlog

from finesieve_server.errors import DataLoss, InvalidArgument, Unavailable
from finesieve_server.index.database import (
    BUSY_TIMEOUT_MS,
    CHECKPOINT_BYTES,
    LOG_LIMIT_BYTES,
    connect,
    transaction,
    translated,
)
from finesieve_server.index.filter_sql import fields_of
from finesieve_server.index.formats import format_of, upgrade
from finesieve_server.index.lexical import LexicalIndex
from finesieve_server.index.progress import Progress
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import Embedding, Labels, Passage
from finesieve_server.index.relatives import SCHEMA as RELATIVES_SCHEMA
from finesieve_server.index.segments import SCHEMA as LEXICAL_SCHEMA
from finesieve_server.index.tokens import SCHEMA as TOKENS_SCHEMA
from finesieve_server.index.tokens import KeptTokens

FORMAT = 2
END_US = 1 << 56  # the year 4253: no store was written later
# A passage with a vector of 384 values and ninety words took 4.6 KB in pages of 4 KB, each of which
# one row filled. In these it takes 2.8 KB, and a tenth less processor time.
PAGE_BYTES = 16 << 10
IDLE_READERS = 4
LOG_WAIT_MS = 1_000  # of a writer for the readers of a log at its limit
PROGRESS_STEPS = 100_000  # of SQLite's machine, some milliseconds, between two looks
REBUILD_CHUNK = 1_000  # passages whose words are indexed at once
DELETE_CHUNK = 10_000  # labels; bounds the memory of a delete by filter

_log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE collection (  -- one row
    uid TEXT NOT NULL,
    update_us INTEGER NOT NULL,  -- microseconds since 1970, UTC
    generation INTEGER NOT NULL  -- of the newest snapshot of the indexes
);
CREATE TABLE passages (
    label INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    parent_id TEXT NOT NULL,
    context_only INTEGER NOT NULL
);
CREATE INDEX passages_to_retrieve ON passages (context_only);
-- Apart from passages, so that walking those stays on few pages.
CREATE TABLE contents (
    label INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,  -- JSON
    embedding BLOB  -- little-endian float32, as the caller gave it
);
CREATE TABLE passage_fields (  -- filters.py says what lies here
    field TEXT NOT NULL,
    value NOT NULL,
    label INTEGER NOT NULL,
    PRIMARY KEY (field, value, label)
) WITHOUT ROWID;
CREATE INDEX fields_by_passage ON passage_fields (label, field);
"""


class Store:
    """The database file of one collection."""

    def __init__(self, path: Path) -> None:
        """Open the file, at once: it may be of an earlier format until `upgrade`.

        Raises DataLoss where it is damaged, FailedPrecondition where it is of a newer format.
        """
        self.path = path
        self._writer = connect(path, cache_bytes=16 << 20)
        self._writer.set_wal_hook(self._log_grew)  # in place of a copy within the commit
        self._log_pages = 0
        self._log_limit = LOG_LIMIT_BYTES
        self._idle: list[apsw.Connection] = []
        self._reading = 0
        self._closed = False
        self._changed = threading.Condition()
        try:
            with translated(path, self._writer):
                format_of(self._writer, path, FORMAT)
                self._page_bytes: int = self._writer.execute("PRAGMA page_size").get
                row = self._writer.execute("SELECT uid, update_us, generation FROM collection").get
                match row:
                    case (str(uid), int(update_us), int(generation)) if 0 <= update_us < END_US:
                        self.uid, self._update_us, self.generation = uid, update_us, generation
                    case _:
                        raise DataLoss(f"{path} is damaged: it does not say what it is")
                self.count: int = self._writer.execute("SELECT count(*) FROM passages").get
        except BaseException:
            self._writer.close()
            raise

    def upgrade(self, progress: Progress) -> None:
        """Bring the file to this version's format; nothing else may read or write it before."""
        with translated(self.path, self._writer):
            upgrade(self._writer, self.path, FORMAT, {1: _upgrade_1_to_2}, progress)

    @classmethod
    def create(cls, path: Path, uid: str) -> None:
        """Make an empty store; the folder must exist."""
        connection = connect(path, create=True, page_bytes=PAGE_BYTES)
        try:
            with translated(path, connection), transaction(connection):
                connection.execute(_SCHEMA + TOKENS_SCHEMA + RELATIVES_SCHEMA + LEXICAL_SCHEMA)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute("INSERT INTO collection VALUES (?, ?, 0)", (uid, _now_us()))
        finally:
            connection.close()

    @property
    def update_time(self) -> datetime:
        return datetime.fromtimestamp(self._update_us / 1e6, UTC)

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Give what changes the store; it is all durable after the block, or nothing is."""
        with translated(self.path, self._writer):
            with transaction(self._writer):
                writer = Writer(self._writer, max(_now_us(), self._update_us + 1))
                yield writer
                changed = bool(writer.added or writer.removed)
                if changed:
                    writer.lexical.tidy()
                    self._writer.execute("UPDATE collection SET update_us = ?", (writer.version,))
            if changed:
                self._update_us = writer.version
            self.count += writer.added - writer.removed

    @contextmanager
    def reading(self, abandoned: Callable[[], bool] = lambda: False) -> Iterator[Reader]:
        """Give one unchanging view of the store, however many reads the block makes.

        A read ends early with Unavailable once `abandoned` says that nobody waits for it.
        """
        connection = self._take_reader()
        connection.set_progress_handler(abandoned, PROGRESS_STEPS)
        healthy = False
        try:
            with translated(self.path, connection):
                connection.execute("BEGIN")
                try:
                    yield Reader(connection, abandoned)
                    healthy = True
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        finally:
            self._give_back(connection, keep=healthy)

    def record_generation(self, generation: int) -> None:
        """Remember durably which snapshot is the newest; the writing thread alone calls this."""
        with translated(self.path, self._writer), transaction(self._writer):
            self._writer.execute("UPDATE collection SET generation = ?", (generation,))
        self.generation = generation

    def shorten_log(self) -> None:
        """Copy a long log into the database: after a commit, so that no search waits for it.

        While reads overlap, the log grows all the same. At its limit this waits for those that
        began before, so that the log starts over; where they take long, it has another limit's
        length first.
        """
        log_bytes = self._log_pages * self._page_bytes
        if log_bytes < CHECKPOINT_BYTES:
            return
        try:
            self._writer.wal_checkpoint()
            if log_bytes >= self._log_limit:
                self._log_limit = log_bytes + LOG_LIMIT_BYTES
                self._restart_log()
                self._log_limit = LOG_LIMIT_BYTES
        except apsw.Error as error:
            # What was committed is safe in the log; the next commit tries again.
            _log.warning("log not shortened", path=str(self.path), error=str(error))

    def _restart_log(self) -> None:
        self._writer.set_busy_timeout(LOG_WAIT_MS)
        try:
            # Reads that begin meanwhile find all in the database, and need not be waited for.
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._writer.set_busy_timeout(BUSY_TIMEOUT_MS)

    def last_label(self) -> int:
        """Return the highest label ever given; only while nobody writes."""
        with translated(self.path, self._writer):
            return Reader(self._writer).last_label()

    def close(self) -> None:
        """Wait for the readers and let go of the file; later calls raise Unavailable."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._reading == 0)
            for connection in self._idle:
                connection.close()
            self._idle.clear()
        with translated(self.path, self._writer):
            self._writer.close()

    def _take_reader(self) -> apsw.Connection:
        with self._changed:
            if self._closed:
                raise Unavailable("the collection is closed")
            self._reading += 1
            if self._idle:
                return self._idle.pop()
        try:
            return connect(self.path)
        except BaseException:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()
            raise

    def _give_back(self, connection: apsw.Connection, *, keep: bool) -> None:
        with self._changed:
            self._reading -= 1
            if keep and len(self._idle) < IDLE_READERS:
                self._idle.append(connection)
            else:
                connection.close()
            self._changed.notify_all()

    def _log_grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK


class Writer:
    """What one transaction does to the store."""

    def __init__(self, connection: apsw.Connection, version: int) -> None:
        """`version` is what the store's becomes if anything changes; it only grows."""
        self.version = version
        self._connection = connection
        self.tokens = KeptTokens(connection)
        self.lexical = LexicalIndex(connection)
        self.added = 0
        self.removed = 0

    def labels_of(self, ids: Sequence[str]) -> Labels:
        """Return the labels of those passages that exist."""
        return np.array(list(self.reader().labels_of(ids).values()), np.int64)

    def labels_in(self, document_ids: Iterable[str]) -> Labels:
        """Return the labels of all passages of these documents."""
        reader = self.reader()
        return np.concatenate([reader.labels_in(document_id) for document_id in document_ids])

    def remove(self, labels: Labels) -> None:
        """Take passages away with all that belongs to them; every label must exist."""
        for start in range(0, len(labels), DELETE_CHUNK):
            chunk = (apsw.carray(labels[start : start + DELETE_CHUNK]),)
            among = "WHERE label IN (SELECT value FROM carray(?))"
            for table in ("passage_tokens", "passage_fields", "contents", "passages"):
                self._connection.execute(f"DELETE FROM {table} {among}", chunk)  # noqa: S608
        self.lexical.remove(labels)
        self.removed += len(labels)

    def add(self, passages: Sequence[Passage], embeddings: Sequence[Embedding | None]) -> Labels:
        """Add passages, none of whose ids exist; return their labels, which ascend."""
        first = self.reader().last_label() + 1
        labels = range(first, first + len(passages))
        contents, fields = [], []
        for position, (label, passage) in enumerate(zip(labels, passages, strict=True)):
            embedding = embeddings[position]
            try:
                leaves = fields_of(passage.metadata)
                metadata = json.dumps(
                    passage.metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False
                )
            except ValueError as error:
                raise InvalidArgument(f"passages[{position}].metadata", f"holds {error}") from None
            fields += [(field, value, label) for field, value in leaves]
            blob = None if embedding is None else np.ascontiguousarray(embedding, "<f4").tobytes()
            contents.append((label, passage.title, passage.text, metadata, blob))
        self._connection.executemany(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?)",
            [
                (label, p.id, p.document_id, p.ordinal, p.parent_id, p.context_only)
                for label, p in zip(labels, passages, strict=True)
            ],
        )
        self._connection.executemany("INSERT INTO contents VALUES (?, ?, ?, ?, ?)", contents)
        self._connection.executemany("INSERT INTO passage_fields VALUES (?, ?, ?)", fields)
        self.added += len(passages)
        added = np.arange(first, first + len(passages), dtype=np.int64)
        found = [position for position, p in enumerate(passages) if not p.context_only]
        self.lexical.add(added[found], [(passages[at].title, passages[at].text) for at in found])
        return added

    def rebuild_lexical(self, progress: Progress) -> None:
        """Index the words of all passages again."""
        reader = self.reader()
        labels = reader.labels_to_retrieve()
        self.lexical.clear()
        for start in range(0, len(labels), REBUILD_CHUNK):
            chunk = labels[start : start + REBUILD_CHUNK]
            self.lexical.add(chunk, reader.texts(chunk))
            self.lexical.tidy()
            progress("words", start + len(chunk), len(labels))

    def reader(self) -> Reader:
        """Return what reads within this transaction."""
        return Reader(self._connection)


def require_uid(path: Path, expected: str, found: object) -> None:
    """Raise DataLoss where a store lies in another collection's folder."""
    if found != expected:
        raise DataLoss(f"{path} is another collection's: its uid is {found!r}, not {expected!r}")


def _upgrade_1_to_2(connection: apsw.Connection, progress: Progress) -> None:
    connection.execute(TOKENS_SCHEMA)  # the first stores of format 1 had no tokens
    connection.execute(RELATIVES_SCHEMA)
    connection.execute(LEXICAL_SCHEMA)
    Writer(connection, _now_us()).rebuild_lexical(progress)


def _now_us() -> int:
    return time.time_ns() // 1000
