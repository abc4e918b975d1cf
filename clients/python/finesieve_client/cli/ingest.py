"""`finesieve ingest`: store a file's passages, or documents cut into passages, in a collection."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from finesieve_client.async_client import AsyncClient
from finesieve_client.chunking.chunker import DEFAULT_PARENTS_SIZE, DEFAULT_SIZE
from finesieve_client.cli.destination import make_where_missing, say_what_is_waited_for
from finesieve_client.cli.ingest_documents import Asked, DocumentLoad
from finesieve_client.cli.session import FAILED, Session, with_session
from finesieve_client.cli.terminal import progress_bar, say, write_json
from finesieve_client.errors import FinesieveError
from finesieve_client.ingestion import Outcome, store_rows
from finesieve_client.rows import DamagedFile, count_rows, read_lines, read_rows

BAD_ROWS_SHOWN = 20
CHUNKING = "Documents"


@with_session
def ingest(
    session: Session,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="JSON lines, plain or gzipped, with id (or _id), text, and maybe title, metadata, "
            "document_id, ordinal, parent_id, embedding, context_only; - is standard input. With "
            "--chunk: documents, and folders of them.",
        ),
    ],
    collection: Annotated[
        str,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            help="Made where it is missing. Needed unless --dry-run.",
        ),
    ] = "",
    embedding_model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Bi-encoder of a collection made now; by default the server's first.",
        ),
    ] = "",
    chunk: Annotated[
        bool,
        typer.Option(
            "--chunk",
            help="Read text, Markdown, HTML and PDF, and cut each document into passages.",
            rich_help_panel=CHUNKING,
        ),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            help=f"What a model reads of a passage at most; by default {DEFAULT_SIZE}, with "
            f"--parents {DEFAULT_PARENTS_SIZE}, or the model's window where that is less.",
            rich_help_panel=CHUNKING,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            help="What a passage repeats of the one before at most, in whole sentences; by "
            "default an eighth of the size.",
            rich_help_panel=CHUNKING,
        ),
    ] = None,
    parents: Annotated[
        bool,
        typer.Option(
            "--parents",
            help="Keep passages of 4 and 16 times the size above them, for `search --merge-share`.",
            rich_help_panel=CHUNKING,
        ),
    ] = False,
    language: Annotated[
        str,
        typer.Option(
            metavar="CODE",
            help="ISO 639-1; whose abbreviations end no sentence.",
            rich_help_panel=CHUNKING,
        ),
    ] = "en",
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Of folders take the files that match, such as '*.py', instead of those with a "
            "known suffix. May be repeated.",
            rich_help_panel=CHUNKING,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Store nothing and ask no server (tokens are estimated): write the passages to "
            "standard output, as JSON lines that `finesieve ingest` takes.",
            rich_help_panel=CHUNKING,
        ),
    ] = False,
) -> None:
    """Store a file's passages, or with --chunk documents; a second run stores what is changed.

    Rows and documents that cannot be stored are named with the reason and passed over; the exit
    code then is 1. A document is named by its path from here, or by its whole path where it lies
    outside: the same again replaces it, and what it no longer holds is removed.
    """
    if dry_run and not chunk:
        raise ValueError("--dry-run shows how documents are cut: it goes with --chunk")
    if not (collection or dry_run):
        raise ValueError("--collection NAME is missing: where to store them")
    if chunk:
        asked = Asked(size, overlap, parents, language)
        documents = DocumentLoad(paths, include or (), collection, asked)
        if dry_run:
            documents.show()
        else:
            documents.run(session, embedding_model)
        num_bad = len(documents.total.bad)
    else:
        load = Load(_only(paths), collection, count_rows(_only(paths)))
        load.run(session, embedding_model)
        if session.as_json:
            write_json(load.as_values())
        num_bad = len(load.total.bad)
    if num_bad:
        raise typer.Exit(FAILED)


def _only(paths: list[str]) -> str:
    if len(paths) != 1:
        raise ValueError(f"{len(paths)} files of JSON lines; one at a time, or documents: --chunk")
    if Path(paths[0]).is_dir():
        raise ValueError(f"{paths[0]} is a folder; with --chunk its documents are stored")
    return paths[0]


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
