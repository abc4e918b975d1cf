"""Find what stands around passages in their document, and above them: labels and counts alone.

Neighbours are of one level: what search finds, or what is kept for context at the top, or below it.
"""

# ruff: noqa: S608 -- the text of every statement is ours; what callers give is bound.

import json
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from finesieve_server.index.records import Passage, level_of

# A level's passages lie in a row in their index, so that neighbours are read from there alone,
# and however many have one ordinal.
SCHEMA = """
ALTER TABLE passages ADD COLUMN level INTEGER GENERATED ALWAYS AS (
    CASE WHEN context_only THEN 1 + (parent_id = '') ELSE 0 END
) VIRTUAL;
DROP INDEX IF EXISTS passages_by_document;
CREATE INDEX passages_by_document ON passages (document_id, level, ordinal, id);
CREATE INDEX passages_by_parent ON passages (parent_id) WHERE parent_id <> '';
"""

_BESIDE = (
    "(SELECT json_group_array(label ORDER BY ordinal, id) FROM (SELECT n.label, n.ordinal, n.id"
    " FROM passages n"
    " WHERE n.document_id = hit.value ->> 0 AND n.level = hit.value ->> 1"
    " AND (n.ordinal, n.id) {side} (hit.value ->> 2, hit.value ->> 3)"
    " ORDER BY n.ordinal {order}, n.id {order} LIMIT ?2))"
)
_BEFORE = _BESIDE.format(side="<", order="DESC")
_AFTER = _BESIDE.format(side=">", order="ASC")
# One row a hit, and not one a neighbour: each hands the interpreter to other threads.
AROUND = f"SELECT {_BEFORE}, {_AFTER} FROM json_each(?1) hit"
CHILDREN = (
    "SELECT parent.value, (SELECT count(*) FROM passages p"
    " WHERE p.parent_id = parent.value AND p.parent_id <> '')"
    " FROM json_each(?) parent"
)


class Relatives:
    """The passages of one snapshot, by document and by parent."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def around(self, passages: Sequence[Passage], window: int) -> list[tuple[list[int], list[int]]]:
        """Return per passage the labels of up to `window` before it and after it, in their order.

        Of equal ordinals the ids decide. A passage of no document has no neighbours.
        """
        places = [
            (
                each.document_id,
                # What the column of that name holds.
                level_of(context_only=each.context_only, parent_id=each.parent_id),
                each.ordinal,
                each.id,
            )
            for each in passages
            if each.document_id
        ]
        rows: list[tuple[Any, ...]] = self._connection.execute(
            AROUND, (json.dumps(places), window)
        ).fetchall()
        read = iter(rows)
        found = (next(read) if each.document_id else ("[]", "[]") for each in passages)
        return [(json.loads(before), json.loads(after)) for before, after in found]

    def children(self, parent_ids: Iterable[str]) -> dict[str, int]:
        """Return how many passages name each of these as their parent."""
        return dict(self._connection.execute(CHILDREN, (json.dumps(list(parent_ids)),)))
