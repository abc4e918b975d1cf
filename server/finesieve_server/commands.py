"""The commands beside serving: check a data directory, make its indexes again, back it up."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from finesieve_server.errors import FinesieveError
from finesieve_server.index import backup as copies
from finesieve_server.index import maintenance
from finesieve_server.index.progress import Progress
from finesieve_server.telemetry import configure_logging

SOUND, DAMAGED, CANNOT = 0, 1, 2  # exit codes

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
console = Console(highlight=False)

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="FINESIEVE_DATA_DIR",
        help="Folder of the collections, as the server's --data-dir.",
    ),
]


def run(arguments: Sequence[str]) -> None:
    """Run one command and exit: 0 done and sound, 1 damage was found, 2 it could not be done."""
    configure_logging("ERROR")
    try:
        app(list(arguments), prog_name="finesieve-server")
    except (FinesieveError, OSError) as problem:
        typer.echo(f"finesieve-server: {problem}", err=True)
        sys.exit(CANNOT)


@app.command()
def check(
    data_dir: DataDir = Path("finesieve-data"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line instead of a table.")
    ] = False,
) -> None:
    """Verify a data directory that no server uses: databases, indexes, and that they agree.

    Nothing is changed. Exits with 0 where all is sound, 1 where something is damaged, 2 where the
    directory cannot be checked. A damaged snapshot, or damaged words, `rebuild` makes again;
    anything else is to be restored from a backup.
    """
    table = Table("collection", "part", "result")
    sound = True
    with _bars() as bars:
        for name, finding in maintenance.check(data_dir, bars.of):
            sound = sound and not finding.problem
            if as_json:
                line = {
                    "collection": name,
                    "part": finding.part,
                    "sound": not finding.problem,
                    "detail": finding.problem or finding.note,
                }
                typer.echo(json.dumps(line))
            result = f"[red]{escape(finding.problem)}[/]" if finding.problem else "[green]ok[/]"
            note = f" [dim]{escape(finding.note)}[/]" if finding.note else ""
            table.add_row(escape(name), finding.part, result + note)
    if not as_json:
        console.print(table)
        console.print("sound" if sound else "[red]damaged[/]")
    sys.exit(SOUND if sound else DAMAGED)


@app.command()
def rebuild(
    data_dir: DataDir = Path("finesieve-data"),
    collection: Annotated[
        str | None, typer.Option(help="Only this one; without it, every collection.")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, max=1024, help="Threads that build a graph.")
    ] = len(os.sched_getaffinity(0)),
) -> None:
    """Make the indexes of a data directory that no server uses again: vectors, graph and words.

    Exits with 0 where all were made, 1 where a damaged collection has none, 2 where the directory
    cannot be used.
    """
    whole = True
    with _bars() as bars:
        for each in maintenance.rebuild(data_dir, collection, threads, bars.of):
            whole = whole and not each.problem
            outcome = (
                f"[red]{escape(each.problem)}[/]"
                if each.problem
                else (f"{each.vectors} vectors indexed")
            )
            console.print(f"{escape(each.name)}: {outcome}", soft_wrap=True)
    sys.exit(SOUND if whole else DAMAGED)


@app.command()
def backup(
    to: Annotated[Path, typer.Option(help="The folder to make; it must be new or empty.")],
    data_dir: DataDir = Path("finesieve-data"),
) -> None:
    """Copy a data directory, whether or not a server is writing to it.

    What was acknowledged before is in the copy, and no batch is there by half. To restore, start a
    server with --data-dir on the copy, or on a copy of it. The newest saved index comes along, and
    the start adds what came after it; where none was saved yet, as for the first 2,000 vectors or
    the first seconds of a load, the start makes it in the background, as a load does, and searches
    are exact meanwhile.
    """
    with _bars() as bars:
        copied = copies.backup(data_dir, to, bars.of)
    for each in copied:
        index = "with its index" if each.with_snapshot else "no index was saved, a start makes it"
        console.print(f"{escape(each.name)}: {each.passages} passages, {index}")
    console.print(f"{len(copied)} collections in {escape(str(to))}")


class _Shown:
    """A bar for each step of each collection, where somebody watches."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def of(self, name: str) -> Progress:
        task = self._bars.add_task(escape(name), visible=False, total=None)

        def progress(step: str, done: int, of: int) -> None:
            self._bars.update(
                task,
                description=f"{escape(name)}: {step}",
                completed=done,
                total=of,
                visible=done < of,
            )

        return progress


@contextmanager
def _bars() -> Iterator[_Shown]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    errors = Console(stderr=True)
    watched = errors.is_terminal
    with Bars(
        *columns, TimeElapsedColumn(), console=errors, transient=True, disable=not watched
    ) as bars:
        yield _Shown(bars)
