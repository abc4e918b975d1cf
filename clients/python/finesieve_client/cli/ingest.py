"""`finesieve ingest`: store a file's passages in a collection."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from finesieve_client.async_client import AsyncClient
from finesieve_client.cli.session import FAILED, Session, with_session
from finesieve_client.cli.terminal import progress_bar, say, write_json
from finesieve_client.errors import AlreadyExists, FinesieveError, NotFound
from finesieve_client.ingestion import PATIENCE_S, Outcome, store_rows
from finesieve_client.rows import DamagedFile, count_rows, read_lines, read_rows

BAD_ROWS_SHOWN = 20


@with_session
def ingest(
    session: Session,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="JSON lines, plain or gzipped, with id (or _id), text, and maybe title, metadata, "
            "document_id, ordinal, parent_id, embedding, context_only; - is standard input.",
        ),
    ],
    collection: Annotated[
        str, typer.Option("--collection", "-c", metavar="NAME", help="Made where it is missing.")
    ],
    embedding_model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Bi-encoder of a collection made now; by default the server's first.",
        ),
    ] = "",
) -> None:
    """Store a file's passages; a second run stores only what is new or changed.

    Rows that are no passages are named with their line and passed over; the exit code then is 1.
    """
    load = Load(file, collection, count_rows(file))
    load.run(session, embedding_model)
    if session.as_json:
        write_json(load.as_values())
    if load.total.bad:
        raise typer.Exit(FAILED)


class Load:
    """One file on its way into one collection, and what has become of it so far."""

    def __init__(self, source: str, collection: str, num_rows: int | None) -> None:
        self.source = source
        self.collection = collection
        self.total = Outcome()
        self._num_rows = num_rows

    def run(self, session: Session, embedding_model: str) -> None:
        """Store the file, with a bar; says what is stored also where it ends too early."""
        try:
            asyncio.run(self._run(session, embedding_model))
        except (KeyboardInterrupt, FinesieveError, DamagedFile, OSError):
            if self.total.rows:
                say(f"{self.summary()}; the same command goes on from there")
            raise
        say(self.summary())

    async def _run(self, session: Session, embedding_model: str) -> None:
        async with session.async_client() as client:
            await make_where_missing(client, self.collection, embedding_model)
            await self.store(client)

    async def store(self, client: AsyncClient) -> None:
        """Store the file in the collection, which exists."""
        rows = read_rows(read_lines(self.source))
        with progress_bar() as progress:
            bar = progress.add_task(f"into {self.collection}", total=self._num_rows)
            async for outcome in store_rows(
                client, self.collection, rows, stalled=say_what_is_waited_for
            ):
                for row in outcome.bad[: max(0, BAD_ROWS_SHOWN - len(self.total.bad))]:
                    say(f"line {row.line}: {row.reason}")
                self.total += outcome
                progress.advance(bar, outcome.rows)
        if (num_more := len(self.total.bad) - BAD_ROWS_SHOWN) > 0:
            say(f"and {num_more:,} more bad rows; `finesieve ingest --json` names them all")

    def as_values(self) -> dict[str, object]:
        """Return what became of the file as plain values."""
        return {
            "collection": self.collection,
            "inserted": self.total.inserted,
            "updated": self.total.updated,
            "unchanged": self.total.unchanged,
            "bad": [asdict(row) for row in sorted(self.total.bad, key=lambda row: row.line)],
            "ignored_fields": sorted(self.total.ignored),
        }

    def summary(self) -> str:
        """Return what became of the file in one line."""
        total = self.total
        parts = [f"{total.inserted:,} passages stored"]
        if total.updated:
            parts.append(f"{total.updated:,} replaced")
        if total.unchanged:
            parts.append(f"{total.unchanged:,} were there already")
        if total.bad:
            parts.append(f"{len(total.bad):,} bad rows passed over")
        if total.ignored:
            parts.append(f"fields ignored: {', '.join(sorted(total.ignored))}")
        return f"{self.collection}: {', '.join(parts)}"


def say_what_is_waited_for(error: FinesieveError) -> None:
    """Say why nothing moves."""
    say(f"the server takes no rows, waiting up to {PATIENCE_S:.0f} s for it: {error.message}")


async def make_where_missing(client: AsyncClient, collection: str, embedding_model: str) -> int:
    """Make the collection unless it exists; return how many passages it has."""
    try:
        return (await client.get_collection(collection)).collection.passage_count
    except NotFound:
        pass
    try:
        made = await client.create_collection(collection, embedding_model=embedding_model)
    except AlreadyExists:  # by somebody else, just now
        return (await client.get_collection(collection)).collection.passage_count
    say(f"made the collection {collection}, embedded by {made.collection.embedding_model}")
    return 0
