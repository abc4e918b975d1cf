"""Read passages from one unchanging view of a collection's store. Nothing here writes."""

# ruff: noqa: S608 -- the text of every statement is ours; what callers give is bound.

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apsw
import numpy as np

from finesieve_server.errors import Unavailable
from finesieve_server.index.database import ABANDONED
from finesieve_server.index.filter_sql import (
    Condition,
    SqlValue,
    accepts,
    members,
    rows_matching,
)
from finesieve_server.index.filters import AllOf, AnyOf, Filter, InDocument, NoneOf
from finesieve_server.index.lexical import LexicalIndex
from finesieve_server.index.records import Embedding, Labels, Passage, View
from finesieve_server.index.relatives import Relatives
from finesieve_server.index.tokens import KeptTokens

FEW_MATCHES = 10_000  # up to here, sorting the matches beats walking all ids to find them
METADATA_WEIGHT = 4  # bytes of a protobuf Struct per byte of its JSON, at most nearly always
JSON_WEIGHT = 6  # bytes of JSON per byte of a protobuf Struct, at most
PASSAGE_WEIGHT = 64  # bytes around the fields

_COLUMNS = {
    View.ID: "p.id",
    View.FULL: "p.id, c.text, c.title, c.metadata, p.document_id, p.ordinal, p.parent_id,"
    " p.context_only",
    View.WITH_EMBEDDING: "p.id, c.text, c.title, c.metadata, p.document_id, p.ordinal,"
    " p.parent_id, p.context_only, c.embedding",
}
_CONTENTS = {
    View.ID: "",
    View.FULL: " JOIN contents c ON c.label = p.label",
    View.WITH_EMBEDDING: " JOIN contents c ON c.label = p.label",
}


class Reader:
    """Reads of one snapshot."""

    def __init__(
        self, connection: apsw.Connection, abandoned: Callable[[], bool] = lambda: False
    ) -> None:
        self._connection = connection
        self._abandoned = abandoned
        self.tokens = KeptTokens(connection)
        self.relatives = Relatives(connection)
        self.lexical = LexicalIndex(connection)

    def require_wanted(self) -> None:
        """Raise Unavailable once nobody waits for this read: for steps that SQLite does not see."""
        if self._abandoned():
            raise Unavailable(ABANDONED)

    def by_ids(self, ids: Sequence[str], view: View) -> list[Passage]:
        """Return passages in the order of the ids; those that do not exist are left out."""
        find = f"SELECT {_COLUMNS[view]} FROM passages p{_CONTENTS[view]} WHERE p.id = ?"
        rows = (self._connection.execute(find, (id_,)).fetchall() for id_ in ids)
        return [_passage(row) for found in rows for row in found]

    def labels_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the labels of those passages that exist, by id."""
        find = "SELECT label FROM passages WHERE id = ?"
        found = ((id_, self._connection.execute(find, (id_,)).get) for id_ in ids)
        return {id_: label for id_, label in found if label is not None}

    def by_labels(self, labels: Labels, view: View) -> dict[int, Passage]:
        """Return passages by label; those that do not exist are left out."""
        if view is View.ID:
            return {label: Passage(id_) for label, id_ in self.ids_of(labels).items()}
        if not len(labels):
            return {}
        rows = self._connection.execute(
            f"SELECT p.label, {_COLUMNS[view]} FROM carray(?) wanted"
            f" CROSS JOIN passages p ON p.label = wanted.value{_CONTENTS[view]}",
            (apsw.carray(np.ascontiguousarray(labels)),),
        )
        return {row[0]: _passage(row[1:]) for row in rows}

    def ids_of(self, labels: Labels) -> dict[int, str]:
        """Return the ids of passages by label; those that do not exist are left out."""
        if not len(labels):
            return {}
        # One text, not one row a label: each row would give the interpreter's lock away.
        pairs: str = self._connection.execute(
            "SELECT json_group_array(json_array(p.label, p.id)) FROM carray(?) wanted"
            " CROSS JOIN passages p ON p.label = wanted.value",
            (apsw.carray(np.ascontiguousarray(labels)),),
        ).get
        return dict(json.loads(pairs))

    def sizes(self, labels: Labels, view: View) -> dict[int, int]:
        """Return how many bytes of an answer a view of each of these passages is at least.

        Nothing of that is read.
        """
        if not len(labels):
            return {}
        sizes = " + ".join(
            f"ifnull(octet_length({column}), 0) / {JSON_WEIGHT if column == 'c.metadata' else 1}"
            for column in _COLUMNS[view].split(", ")
        )
        # One text, not one row a label, as above.
        pairs: str = self._connection.execute(
            f"SELECT json_group_array(json_array(p.label, {sizes})) FROM carray(?) wanted"
            f" CROSS JOIN passages p ON p.label = wanted.value{_CONTENTS[view]}",
            (apsw.carray(np.ascontiguousarray(labels)),),
        ).get
        return dict(json.loads(pairs))

    def texts(self, labels: Labels) -> list[tuple[str, str]]:
        """Return title and text of each of the labels, in their order."""
        if not len(labels):
            return []
        rows: list[tuple[Any, ...]] = self._connection.execute(
            "SELECT c.title, c.text FROM carray(?) wanted"
            " CROSS JOIN contents c ON c.label = wanted.value",
            (apsw.carray(np.ascontiguousarray(labels)),),
        ).fetchall()
        return [(title, text) for title, text in rows]

    def page(
        self, after: str, limit: int, max_bytes: int, condition: Filter | None, view: View
    ) -> tuple[list[Passage], bool]:
        """Return up to `limit` passages with ids beyond `after`, and whether more follow.

        The page ends before it outgrows max_bytes, counted as the protobuf message would be,
        roughly; one passage comes back however large.
        """
        values: tuple[SqlValue, ...]
        if condition is None:
            chosen, values = "p.id > ? ORDER BY p.id", (after,)
        elif self.at_most(condition, FEW_MATCHES) < FEW_MATCHES:
            # The plus signs keep SQLite from walking all ids in order.
            among = members(condition, self._size)
            chosen, values = f"{among.sql} AND +p.id > ? ORDER BY +p.id", (*among.values, after)
        else:
            test = accepts(condition)
            chosen, values = f"p.id > ? AND {test.sql} ORDER BY p.id", (after, *test.values)
        # Chosen and sorted by id alone, and only then read.
        rows = self._connection.execute(
            f"SELECT {_COLUMNS[view]}"
            f" FROM (SELECT p.label FROM passages p WHERE {chosen} LIMIT ?) chosen"
            f" CROSS JOIN passages p ON p.label = chosen.label{_CONTENTS[view]} ORDER BY p.id",
            (*values, limit + 1),
        )
        return _bounded(rows, limit, max_bytes)

    def labels_matching(self, condition: Filter) -> Labels:
        """Return the label of every passage that the filter takes, ascending."""
        among = members(condition, self._size)
        return np.sort(self._labels(f"passages p WHERE {among.sql}", among.values))

    def labels_in(self, document_id: str) -> Labels:
        """Return the label of every passage of this document."""
        return self._labels("passages p WHERE p.document_id = ?", (document_id,))

    def at_most(self, condition: Filter, limit: int) -> int:
        """Return a bound on how many passages the filter takes; `limit` stands for any more.

        It costs no more than `limit` rows a condition, however many match.
        """
        match condition:
            case AllOf(filters):
                return min((self.at_most(inner, limit) for inner in filters), default=0)
            case AnyOf(filters):
                return min(limit, sum(self.at_most(inner, limit) for inner in filters))
            case NoneOf():
                return limit
            case InDocument(document_id):
                rows = Condition("passages p WHERE p.document_id = ?", (document_id,))
            case leaf:
                found = rows_matching(leaf)
                rows = Condition(f"passage_fields f WHERE {found.sql}", found.values)
        count: int = self._connection.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM {rows.sql} LIMIT ?)", (*rows.values, limit)
        ).get
        return count

    def _labels(self, rows: str, values: tuple[Any, ...]) -> Labels:
        # One text, not one row a label: each row hands the interpreter to other threads and back.
        sql = f"SELECT group_concat(p.label) FROM {rows}"
        text: str | None = self._connection.execute(sql, values).get
        return np.fromstring(text or "", np.int64, sep=",")

    def _size(self, condition: Filter) -> int:
        return self.at_most(condition, FEW_MATCHES)

    def accepted(self, condition: Filter, labels: Labels) -> Labels:
        """Return those of the labels whose passages the filter takes, in no order."""
        if not len(labels):
            return labels
        test = accepts(condition)
        wanted = apsw.carray(np.ascontiguousarray(labels))
        return self._labels(
            f"carray(?) wanted CROSS JOIN passages p ON p.label = wanted.value WHERE {test.sql}",
            (wanted, *test.values),
        )

    def last_label(self) -> int:
        """Return the highest label ever given."""
        last: int | None = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'passages'"
        ).get
        return last or 0

    def labels_to_retrieve(self) -> Labels:
        """Return the label of every passage that search may find, ascending."""
        return np.sort(self._labels("passages p WHERE p.context_only = 0", ()))

    def embeddings(self, labels: Labels) -> Iterator[tuple[int, Embedding]]:
        """Yield (label, embedding) of those labels that have one."""
        rows = self._connection.execute(
            "SELECT c.label, c.embedding FROM carray(?) wanted"
            " CROSS JOIN contents c ON c.label = wanted.value WHERE c.embedding IS NOT NULL",
            (apsw.carray(np.ascontiguousarray(labels)),),
        )
        for label, blob in rows:
            yield label, np.frombuffer(blob, "<f4")


def _passage(row: tuple[Any, ...]) -> Passage:
    if len(row) == 1:
        return Passage(row[0])
    id_, text, title, metadata, document_id, ordinal, parent_id, context_only, *embedding = row
    return Passage(
        id=id_,
        text=text,
        title=title,
        metadata=json.loads(metadata),
        document_id=document_id,
        ordinal=ordinal,
        parent_id=parent_id,
        embedding=np.frombuffer(embedding[0], "<f4") if embedding and embedding[0] else None,
        context_only=bool(context_only),
    )


def _bounded(
    rows: Iterable[tuple[Any, ...]], limit: int, max_bytes: int
) -> tuple[list[Passage], bool]:
    page: list[Passage] = []
    size = 0
    for row in rows:
        size += _weight(row)
        if len(page) == limit or (page and size > max_bytes):
            return page, True
        page.append(_passage(row))
    return page, False


def _weight(row: tuple[Any, ...]) -> int:
    lengths = [
        len(value.encode()) if isinstance(value, str) else len(value)
        for value in row
        if isinstance(value, str | bytes)
    ]
    metadata = len(row[3].encode()) if len(row) > 1 else 0
    return PASSAGE_WEIGHT + sum(lengths) + (METADATA_WEIGHT - 1) * metadata
