"""The `finesieve` command: one short module per command."""

from importlib.metadata import version
from typing import Annotated

import typer

from finesieve_client.cli import collections
from finesieve_client.cli.ask import ask
from finesieve_client.cli.compare import compare
from finesieve_client.cli.evaluate import evaluate
from finesieve_client.cli.ingest import ingest
from finesieve_client.cli.models import models
from finesieve_client.cli.repurpose import repurpose
from finesieve_client.cli.rerank import rerank
from finesieve_client.cli.search import search
from finesieve_client.cli.tournament import tournament
from finesieve_client.cli.triad import triad

app = typer.Typer(
    name="finesieve",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="First steps: `finesieve ingest corpus.jsonl --collection docs`, then "
    "`finesieve compare 'a question'`. `finesieve COMMAND --help` explains each command.",
)
app.command()(ask)
app.command()(search)
app.command()(compare)
app.command()(rerank)
app.command()(ingest)
app.command()(evaluate)
app.command()(tournament)
app.command()(triad)
app.command()(repurpose)
app.command()(models)
app.add_typer(collections.app, name="collections")


def show_version(asked: bool) -> None:
    """Write the version, if that was asked, and end."""
    if asked:
        typer.echo(version("finesieve"))
        raise typer.Exit


@app.callback()
def finesieve(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Two-stage retrieval on a finesieve server: store passages, ask, search, rerank, compare."""


def main() -> None:
    """Run the command."""
    app()
