"""Ask the standard library's own documentation, and show what reranking changed (`make demo`)."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rich.console import Console

from demo.server_process import ServerProcess, ServerProcessError
from demo.stdlib_corpus import write_corpus
from demo.steps import Steps
from finesieve_client import (
    Client,
    Comparison,
    FailedPrecondition,
    FinesieveError,
    NotFound,
    compare,
)
from finesieve_client.cli.compare import draw
from finesieve_client.cli.ingest import Load
from finesieve_client.cli.session import Session
from finesieve_client.cli.terminal import milliseconds
from finesieve_client.comparison import moved

# Another Python has other documentation.
FOLDER = Path(".demo") / f"python{sys.version_info.major}.{sys.version_info.minor}"
CORPUS = FOLDER / "stdlib.jsonl"
DATA_DIR = FOLDER / "data"
SERVER_LOG = FOLDER / "server.log"
COLLECTION = "stdlib"
# Reranking lifts the right answer in some, leaves the best ones alone in one, and errs in one.
QUESTIONS = (
    "copy a folder with everything in it",
    "run a function at a fixed time",
    "ask the user for a password without showing it",
    "pick random items from a list without repeats",
    "wait until several threads have all arrived",
    "check whether a year is a leap year",
    "find all files with a given extension",
)
NUM_CANDIDATES = 50
NUM_SHOWN = 5
TIMEOUT_S = 60.0


def main() -> int:
    """Run the demo; return 0, 1 where something failed, 130 after Ctrl-C."""
    console = Console(highlight=False)
    try:
        run(console)
    except (ServerProcessError, FinesieveError, OSError) as error:
        console.print(f"\n[bold red]The demo failed.[/] The server's log: {SERVER_LOG}")
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped; the server too. `make demo` goes on from here.")
        return 130
    return 0


def run(console: Console) -> None:
    """Read, serve, index, ask, stop, report."""
    console.print(
        "Two-stage retrieval over the Python standard library's own documentation:\n"
        f"a bi-encoder finds {NUM_CANDIDATES} candidates, a cross-encoder orders them.\n"
        "From here, a first run takes about a minute, the next ones some ten seconds."
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    steps = Steps(console, 5)
    with ExitStack() as running:
        with steps.take("Read the documentation") as step:
            num_passages = write_corpus(CORPUS)
            step.result = f"{num_passages:,} passages of modules, classes and functions"
        with steps.take("Start the server") as step:
            server = running.enter_context(ServerProcess(DATA_DIR, SERVER_LOG))
            server.wait_until_serving()
            with Client(server.address) as client:
                forget_if_outdated(client)
            step.result = f"serving on {server.address}; its log is {SERVER_LOG}"
        with steps.take("Index") as step:
            step.result = index(server.address, CORPUS, num_passages)
        with steps.take("Ask") as step:
            comparisons = ask(console, server.address)
            step.result = f"\n{len(comparisons)} questions"
        with steps.take("Stop the server") as step:
            running.close()
            step.result = "every call answered, exit code 0"
    console.print("\n[bold]What reranking changed[/]")
    for comparison in comparisons:
        console.print(what_changed(comparison), soft_wrap=True)
    console.print("\n[bold]Where the time went[/]")
    console.print(steps.table())
    console.print(f"A question takes {time_per_stage(comparisons)}.", soft_wrap=True)
    console.print(
        "\nAsk your own: start the server on this data in one terminal, and ask in another.\n"
        f"  .venv/bin/finesieve-server --data-dir {DATA_DIR}\n"
        "  .venv/bin/finesieve compare 'the largest items without sorting everything'\n"
        "  .venv/bin/finesieve search 'open a file as text' --where module=io\n"
        "Not every move is right: `finesieve evaluate` says what reranking is worth on\n"
        "labelled questions. README.md goes on with your own passages and your own code.",
        soft_wrap=True,
    )


def forget_if_outdated(client: Client) -> None:
    """Delete the collection if an earlier release embedded it with another model."""
    try:
        client.retrieve(COLLECTION, "any question", top_k=1)
    except NotFound:
        pass
    except FailedPrecondition:
        client.delete_collection(COLLECTION)


def index(address: str, corpus: Path, num_passages: int) -> str:
    """Store what the collection does not have yet, with a bar; return what that came to."""
    load = Load(str(corpus), COLLECTION, num_passages)
    load.run(Session(address, tls=None, token="", timeout_s=TIMEOUT_S, as_json=False), "")
    new = load.total.inserted + load.total.updated
    return f"{new:,} passages embedded and stored, {load.total.unchanged:,} were there"


def ask(console: Console, address: str) -> list[Comparison]:
    """Ask every question and show both stages' best hits side by side."""
    comparisons = []
    with Client(address, timeout_s=TIMEOUT_S) as client:
        for question in QUESTIONS:
            comparison = compare(
                client, COLLECTION, question, retrieve_k=NUM_CANDIDATES, top_n=NUM_SHOWN
            )
            console.print()
            console.print(draw(comparison))
            comparisons.append(comparison)
    return comparisons


def time_per_stage(comparisons: Sequence[Comparison]) -> str:
    """Return the median time of one question, in all and per stage."""
    total, *stages = (
        f"{milliseconds(median(getattr(each.timings, f'{stage}_us') for each in comparisons))}"
        for stage in ("total", "embed", "retrieve", "rerank")
    )
    return f"{total}: embed {stages[0]}, retrieve {stages[1]}, rerank {stages[2]}"


def what_changed(comparison: Comparison) -> str:
    """Return in two lines the first hit after each stage, and which hit climbed most."""
    before, after = comparison.first_stage[0].passage.id, comparison.second_stage[0].passage.id
    change = f"{before}, as before" if after == before else f"{before} → [bold]{after}[/]"
    climber = max(comparison.second_stage, key=moved)
    if moved(climber) and climber.rank > 1:
        change += f"; climbed: {climber.passage.id} {climber.retrieval_rank} → {climber.rank}"
    return f"{comparison.query}\n    [dim]first:[/] {change}"


if __name__ == "__main__":
    sys.exit(main())
