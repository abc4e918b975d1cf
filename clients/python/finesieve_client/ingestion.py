"""Store a file's passages in a collection: in batches, a few at a time, each row answered for.

The server is the checkpoint: of every batch it is first asked which passages it has already with
the same content, and only the others are sent. So a run after an interruption goes on where that
one ended, and a run after an edit sends the edited rows.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self

from finesieve.v1.passages_pb2 import Passage
from finesieve_client.async_client import AsyncClient
from finesieve_client.batches import Batch, Reader, batches, written
from finesieve_client.errors import (
    DeadlineExceeded,
    FinesieveError,
    InvalidArgument,
    ResourceExhausted,
)
from finesieve_client.patience import Patience
from finesieve_client.rows import BadRow, Row

_POSITION = re.compile(r"passages\[(\d+)\]")


@dataclass(slots=True)
class Outcome:
    """What became of some rows; grows by `+=`."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    bad: list[BadRow] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)

    def __iadd__(self, other: "Outcome") -> Self:
        """Take in what became of other rows."""
        self.inserted += other.inserted
        self.updated += other.updated
        self.unchanged += other.unchanged
        self.bad += other.bad
        self.ignored |= other.ignored
        return self

    @property
    def good(self) -> int:
        """Return how many of the rows the collection has now."""
        return self.inserted + self.updated + self.unchanged

    @property
    def rows(self) -> int:
        """Return how many rows these were."""
        return self.good + len(self.bad)


async def store_rows(
    client: AsyncClient,
    collection: str,
    rows: Iterable[Row | BadRow],
    *,
    stalled: Callable[[FinesieveError], None] = lambda _: None,
) -> AsyncIterator[Outcome]:
    """Store rows in a collection that exists; yields each batch's outcome as it is known.

    Rows that the server refuses come back as bad rows with its reason; the others of their batch
    are stored. `rows` are read by another thread. `stalled` is told once what a server says that
    has to be waited for. Raises FinesieveError where going on is useless: what was yielded is
    durable; and what `rows` raised, after what came before is stored.
    """
    described = await client.get_collection(collection)
    resuming = described.collection.passage_count > 0
    writer = Writer(client, collection, resuming=resuming, stalled=stalled)
    reader = Reader(rows)
    async with aclosing(written(reader, batches(reader), writer.write)) as outcomes:
        async for outcome in outcomes:
            yield outcome


class Writer:
    """Writes batches to one collection."""

    def __init__(
        self,
        client: AsyncClient,
        collection: str,
        *,
        resuming: bool,
        stalled: Callable[[FinesieveError], None],
    ) -> None:
        self._client = client
        self._collection = collection
        self._resuming = resuming
        self._patience = Patience(stalled)

    async def write(self, batch: Batch) -> Outcome:
        """Store what of a batch is good and not there yet."""
        rows = [row for row in batch if isinstance(row, Row)]
        outcome = Outcome(
            bad=[row for row in batch if isinstance(row, BadRow)],
            ignored={name for row in rows for name in row.ignored},
        )
        new = await self._changed(rows) if self._resuming and rows else rows
        outcome.unchanged = len(rows) - len(new)
        outcome += await self._store(new)
        return outcome

    async def _changed(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return the rows that the collection does not have, or has with other content."""
        embedded = any(row.passage.HasField("embedding") for row in rows)
        ids = [row.passage.id for row in rows]
        try:
            answer = await self._patience.call(
                lambda: self._client.get_passages(
                    self._collection, ids, view="with_embedding" if embedded else "full"
                )
            )
        except (InvalidArgument, ResourceExhausted):
            return rows  # an id that cannot be, or no room for the answer: the write will say
        stored = {passage.id: passage for passage in answer.passages}
        return [row for row in rows if not _same(row.passage, stored.get(row.passage.id))]

    async def _store(self, rows: Sequence[Row]) -> Outcome:
        """Store rows; those that the server refuses come back as bad, the others are stored."""
        if not rows:
            return Outcome()
        passages = [row.passage for row in rows]
        try:
            answer = await self._patience.call(
                lambda: self._client.upsert_passages(self._collection, passages)
            )
        except InvalidArgument as error:
            refused = _refused(rows, error)
            if not refused:
                return await self._store_halves(rows)
            rest = [row for row in rows if row.line not in refused]
            outcome = Outcome(bad=[BadRow(line, reason) for line, reason in refused.items()])
            outcome += await self._store(rest)
            return outcome
        except DeadlineExceeded:
            if len(rows) == 1:
                raise
            return await self._store_halves(rows)
        return Outcome(inserted=answer.inserted, updated=answer.updated)

    async def _store_halves(self, rows: Sequence[Row]) -> Outcome:
        half = len(rows) // 2
        outcome = await self._store(rows[:half])
        outcome += await self._store(rows[half:])
        return outcome


def _refused(rows: Sequence[Row], error: InvalidArgument) -> dict[int, str]:
    """Return the lines that the server found at fault, and why; none where it does not say."""
    refused = {}
    for violation in error.violations:
        if position := _POSITION.match(violation.field):
            field = violation.field[position.end() :].removeprefix(".")
            line = rows[int(position.group(1))].line
            refused[line] = f"{field} {violation.description}".strip()
    if not refused and len(rows) == 1:
        return {rows[0].line: error.message}
    return refused


def _same(passage: Passage, stored: Passage | None) -> bool:
    """Tell whether the server has just this passage."""
    if stored is None:
        return False
    if not passage.HasField("embedding"):
        stored.ClearField("embedding")  # the server's own
    return passage == stored
