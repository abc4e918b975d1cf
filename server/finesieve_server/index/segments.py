"""Keep postings in the store, segment by segment, as a log-structured merge tree does.

What is added becomes a segment of its own; small neighbours are merged into larger ones by the
writes that come later. What is taken away is marked, and left out of the next merge. What the
postings mean is left to others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apsw
import numpy as np

from finesieve_server.errors import DataLoss
from finesieve_server.index.postings import (
    MAX_PAGE_BITS,
    MAX_SLOTS,
    NOTHING,
    PAGE_POSTINGS,
    Lengths,
    Listed,
    Segment,
    look_up,
    merge,
    page_of,
    pages,
    unpack,
)
from finesieve_server.index.records import Labels

MERGED_AT_ONCE = 8  # segments, at least
MAX_POSTINGS = 1 << 24  # of a merged segment: some twelve bytes each, and half a second in all

SCHEMA = """
CREATE TABLE lexical_segments (
    number INTEGER PRIMARY KEY,
    first_label INTEGER NOT NULL,  -- the labels of one segment lie between those of others
    last_label INTEGER NOT NULL,
    living INTEGER NOT NULL,
    page_bits INTEGER NOT NULL,
    labels BLOB NOT NULL  -- little-endian int64 of each slot
);
CREATE TABLE lexical_lengths (  -- apart, because deletes write into it
    number INTEGER PRIMARY KEY,
    lengths BLOB NOT NULL  -- little-endian uint16 of each slot
);
CREATE TABLE lexical_pages (  -- postings.py says what lies here
    number INTEGER PRIMARY KEY,  -- the segment's times 2^16, and the page's
    page BLOB NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One segment, without its postings."""

    number: int
    first_label: int
    last_label: int
    living: int
    page_bits: int
    slots: int

    @property
    def share(self) -> float:
        """Return the part of what a segment may hold, by passages or else by postings.

        Of the latter it is a bound: they are not counted.
        """
        return max(self.living / MAX_SLOTS, (PAGE_POSTINGS << self.page_bits) / MAX_POSTINGS)


class Segments:
    """The three tables, seen through one connection within its transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self) -> list[Row]:
        """Return all segments in the order of their labels."""
        return [
            Row(*row)
            for row in self._connection.execute(
                "SELECT number, first_label, last_label, living, page_bits, length(labels) / 8"
                " FROM lexical_segments ORDER BY first_label"
            )
        ]

    def labels(self, row: Row) -> Labels:
        """Return the label of each slot, ascending."""
        sql = "SELECT labels FROM lexical_segments WHERE number = ?"
        return np.frombuffer(self._connection.execute(sql, (row.number,)).get, "<i8")

    def lengths(self, row: Row) -> Lengths:
        """Return how many words each slot has; 0: its passage is gone. Raises DataLoss."""
        sql = "SELECT lengths FROM lexical_lengths WHERE number = ?"
        blob = self._connection.execute(sql, (row.number,)).get or b""
        if len(blob) != row.slots * 2:
            raise DataLoss("the lexical index is damaged: lengths are missing")
        return np.frombuffer(blob, "<u2")

    def listed(self, rows: Sequence[Row], term: int) -> list[Listed]:
        """Return for each segment the passages that have a term. Raises DataLoss."""
        numbers = [row.number << MAX_PAGE_BITS | page_of(term, row.page_bits) for row in rows]
        if not numbers:
            return []
        found = dict(
            self._connection.execute(
                "SELECT p.number, p.page FROM carray(?) wanted"
                " CROSS JOIN lexical_pages p ON p.number = wanted.value",
                (apsw.carray(np.array(numbers, np.int64)),),
            )
        )
        try:
            lists = [look_up(found[n], term) if n in found else NOTHING for n in numbers]
        except ValueError as error:
            raise DataLoss(f"the lexical index is damaged: {error}") from error
        for row, (slots, _) in zip(rows, lists, strict=True):
            if len(slots) and int(slots.max()) >= row.slots:
                raise DataLoss("the lexical index is damaged: a posting has no passage")
        return lists

    def require_sound(self, rows: Sequence[Row]) -> None:
        """Raise DataLoss where what the rows say of their segments is not so."""
        previous = 0
        for row in rows:
            labels, living = self.labels(row), np.count_nonzero(self.lengths(row))
            if not len(labels) or (row.first_label, row.last_label) != (labels[0], labels[-1]):
                raise DataLoss("the lexical index is damaged: a segment has other labels")
            if row.living != living:
                raise DataLoss(
                    f"the lexical index is damaged: {living} passages live, not {row.living}"
                )
            if labels[0] <= previous or np.any(np.diff(labels) <= 0):
                raise DataLoss("the lexical index is damaged: labels do not ascend")
            previous = row.last_label

    def load(self, row: Row) -> Segment:
        """Return a whole segment, without what is gone. Raises DataLoss."""
        first = row.number << MAX_PAGE_BITS
        packed = self._connection.execute(
            "SELECT page FROM lexical_pages WHERE number BETWEEN ? AND ? ORDER BY number",
            (first, first + (1 << MAX_PAGE_BITS) - 1),
        )
        try:
            whole = unpack(self.labels(row), self.lengths(row), [page for (page,) in packed])
        except ValueError as error:
            raise DataLoss(f"the lexical index is damaged: {error}") from error
        return merge([whole])

    def insert(self, segment: Segment) -> None:
        """Add a segment whose labels lie between those of others."""
        last = self._connection.execute("SELECT max(number) FROM lexical_segments").get or 0
        number = last + 1
        page_bits, packed = pages(segment)
        self._connection.execute(
            "INSERT INTO lexical_segments VALUES (?, ?, ?, ?, ?, ?)",
            (
                number,
                int(segment.labels[0]),
                int(segment.labels[-1]),
                len(segment.labels),
                page_bits,
                segment.labels.astype("<i8", copy=False).tobytes(),
            ),
        )
        self._connection.execute(
            "INSERT INTO lexical_lengths VALUES (?, ?)",
            (number, segment.lengths.astype("<u2", copy=False).tobytes()),
        )
        self._connection.executemany(
            "INSERT INTO lexical_pages VALUES (?, ?)",
            ((number << MAX_PAGE_BITS | page, content) for page, content in packed),
        )

    def mark_gone(self, row: Row, labels: Labels) -> None:
        """Mark passages as gone, those of them that the segment has."""
        own, lengths = self.labels(row), self.lengths(row)
        slots = np.searchsorted(own, labels)
        gone = slots[(own[slots] == labels) & (lengths[slots] > 0)]
        # In place: rewriting all lengths for each delete would write a hundred times as much.
        with self._connection.blob_open(
            "main", "lexical_lengths", "lengths", row.number, True
        ) as blob:
            for slot in gone.tolist():
                blob.seek(2 * slot)
                blob.write(b"\0\0")
        self._connection.execute(
            "UPDATE lexical_segments SET living = living - ? WHERE number = ?",
            (len(gone), row.number),
        )

    def tidy(self) -> None:
        """Drop what is empty, and merge what is due, once: no write shall take for ever."""
        rows = self.rows()
        self._drop(row for row in rows if not row.living)
        due = due_of([row for row in rows if row.living])
        if due:
            merged = merge([self.load(row) for row in due])
            self._drop(due)
            self.insert(merged)

    def clear(self) -> None:
        """Drop all."""
        for table in ("lexical_segments", "lexical_lengths", "lexical_pages"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- a name of ours

    def _drop(self, rows: Iterable[Row]) -> None:
        for row in rows:
            first = row.number << MAX_PAGE_BITS
            self._connection.execute(
                "DELETE FROM lexical_pages WHERE number BETWEEN ? AND ?",
                (first, first + (1 << MAX_PAGE_BITS) - 1),
            )
            for table in ("lexical_segments", "lexical_lengths"):
                sql = f"DELETE FROM {table} WHERE number = ?"  # noqa: S608 -- a name of ours
                self._connection.execute(sql, (row.number,))


def due_of(rows: Sequence[Row]) -> Sequence[Row]:
    """Return neighbours that are worth merging, if any; together they fit into one segment."""
    newest: list[Row] = []
    for row in reversed(rows):
        if _share(newest) + row.share > 1:
            if _share(newest) > 1 / 2 and _doubles(newest):
                return newest[::-1]
            break
        newest.append(row)
        if len(newest) >= MERGED_AT_ONCE and _doubles(newest):
            return newest[::-1]
    for at, row in enumerate(rows):
        if row.living * 2 < row.slots:
            following = rows[at : at + 2]
            return following if _share(following) <= 1 else [row]
    return []


def _share(rows: Sequence[Row]) -> float:
    return sum(row.share for row in rows)


def _doubles(rows: Sequence[Row]) -> bool:
    """Whether each passage lands in a segment twice as large at least: none is moved often."""
    return 2 * max(row.living for row in rows) <= sum(row.living for row in rows)
