"""Keep with passages what models read of them, so that a search need not tokenize them again.

To the index these are bytes under a key. They are derived: any may be missing, and is made again.
"""

# ruff: noqa: S608 -- the text of every statement is ours; what callers give is bound.

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw
import numpy as np

from finesieve_server.index.records import Labels, Untokenized

# One step of a walk over all labels: how many it passes, and how many it gives at most.
WALK_LABELS = 4_096
WALK_PASSAGES = 64
DROP_LABELS = 1_024

SCHEMA = """
CREATE TABLE IF NOT EXISTS tokenizers (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    walked_to INTEGER NOT NULL DEFAULT 0  -- no passage up to this label lacks its tokens
);
CREATE TABLE IF NOT EXISTS passage_tokens (
    label INTEGER NOT NULL,
    tokenizer INTEGER NOT NULL,
    ids BLOB NOT NULL,
    PRIMARY KEY (label, tokenizer)
) WITHOUT ROWID;
"""


class KeptTokens:
    """Both tables, seen through one connection within its transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def of(self, labels: Labels, key: str) -> dict[int, bytes]:
        """Return the tokens of those labels that have some under this key."""
        if not len(labels):
            return {}
        rows = self._connection.execute(
            "SELECT t.label, t.ids FROM carray(?) wanted"
            " CROSS JOIN passage_tokens t ON t.label = wanted.value"
            " WHERE t.tokenizer = (SELECT number FROM tokenizers WHERE key = ?)",
            (apsw.carray(np.ascontiguousarray(labels)), key),
        )
        return dict(rows)

    def lacking(self, keys: Sequence[str], after: int | None, last_label: int) -> Untokenized:
        """Return the next passages that lack tokens under any of the keys.

        None starts where an earlier walk ended. Context-only ones are never read by a model.
        """
        if after is None:
            after = self._walked_to(keys)
        through = after + WALK_LABELS
        rows: list[tuple[Any, ...]] = self._connection.execute(
            "SELECT p.label, c.title, c.text FROM passages p"
            " CROSS JOIN contents c ON c.label = p.label"
            " WHERE p.label > ? AND p.label <= ? AND p.context_only = 0 AND ("
            "  SELECT count(*) FROM passage_tokens t JOIN tokenizers k ON k.number = t.tokenizer"
            "  WHERE t.label = p.label AND k.key IN (SELECT value FROM json_each(?))"
            " ) < ? ORDER BY p.label LIMIT ?",
            (after, through, json.dumps(keys), len(keys), WALK_PASSAGES),
        ).fetchall()
        if len(rows) == WALK_PASSAGES:
            through = rows[-1][0]
        return Untokenized(
            labels=[label for label, _, _ in rows],
            passages=[(title, text) for _, title, text in rows],
            through=min(through, last_label),
            is_last=through >= last_label,
        )

    def add(self, labels: Iterable[int], tokens: Mapping[str, Sequence[bytes | None]]) -> None:
        """Keep tokens, one a label under each key, of those labels that still have a passage."""
        labels = list(labels)
        for key, values in tokens.items():
            number = self._number_of(key)
            self._connection.executemany(
                "INSERT OR REPLACE INTO passage_tokens"
                " SELECT label, ?, ? FROM passages WHERE label = ?",
                [
                    (number, ids, label)
                    for label, ids in zip(labels, values, strict=True)
                    if ids is not None
                ],
            )

    def note_walk(self, keys: Iterable[str], through: int) -> None:
        """Remember that no passage up to this label lacks tokens under these keys."""
        numbers = map(self._number_of, keys)
        self._connection.executemany(
            "UPDATE tokenizers SET walked_to = ? WHERE number = ? AND walked_to < ?",
            [(through, number, through) for number in numbers],
        )

    def drop_others(self, keys: Sequence[str], after: int) -> int | None:
        """Drop, of a range of labels, what is kept under any other key.

        Return the label to go on after; None once nothing is left.
        """
        others = "SELECT number FROM tokenizers WHERE key NOT IN (SELECT value FROM json_each(?))"
        served = json.dumps(keys)
        if not self._connection.execute(f"SELECT count(*) FROM ({others})", (served,)).get:
            return None
        last: int = self._connection.execute("SELECT max(label) FROM passage_tokens").get or 0
        if after >= last:
            self._connection.execute(
                f"DELETE FROM tokenizers WHERE number IN ({others})", (served,)
            )
            return None
        # They have gaps from now on, also where this is not finished.
        self._connection.execute(
            f"UPDATE tokenizers SET walked_to = 0 WHERE number IN ({others})",
            (served,),
        )
        through = after + DROP_LABELS
        self._connection.execute(
            "DELETE FROM passage_tokens WHERE label > ? AND label <= ?"
            f" AND tokenizer IN ({others})",
            (after, through, served),
        )
        return through

    def _walked_to(self, keys: Sequence[str]) -> int:
        walked: list[tuple[Any, ...]] = self._connection.execute(
            "SELECT walked_to FROM tokenizers WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps(keys),),
        ).fetchall()
        return int(min(walked)[0]) if len(walked) == len(keys) else 0

    def _number_of(self, key: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO tokenizers (key) VALUES (?)", (key,))
        number: int = self._connection.execute(
            "SELECT number FROM tokenizers WHERE key = ?", (key,)
        ).get
        return number
