"""`finesieve evaluate`: what each stage is worth on a labelled set, through a running server."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from finesieve_client.async_client import AsyncClient
from finesieve_client.beir import collection_name, read_folder
from finesieve_client.cli import query as ask
from finesieve_client.cli.ingest import Load, make_where_missing
from finesieve_client.cli.progress import progress_bar
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import out, plain_table, say, write_json
from finesieve_client.evaluation import (
    FIRST_STAGE,
    MEASURES,
    Evaluation,
    Evaluator,
    Ranking,
    sample,
)
from finesieve_client.evaluation import evaluate as measure_rankings
from finesieve_client.rows import measure


@with_session
def evaluate(
    session: Session,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="In BEIR's layout: corpus.jsonl, queries.jsonl (or .gz), and qrels.tsv or "
            "qrels/test.tsv.",
        ),
    ],
    queries: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Take so many queries at random.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Which ones --queries takes.")] = 0,
    retrieve_k: ask.RetrieveK = 100,
    calls_at_once: Annotated[
        int, typer.Option(min=1, metavar="N", help="Queries under way; latencies grow with it.")
    ] = 2,
    collection: Annotated[
        str,
        typer.Option(
            "--collection", "-c", metavar="NAME", help="By default the folder's name and a digest."
        ),
    ] = "",
    model: ask.RerankModel = "",
    first_stage_weight: ask.Weight = None,
) -> None:
    """Measure the first stage, the cross-encoder alone, and both, on labelled queries.

    The corpus is stored in a collection of its own first, unless it is there already.
    """
    require_measures()
    labelled = read_folder(folder)
    extent = measure(str(labelled.corpus))
    name = collection or collection_name(labelled.name, extent.sha256)
    chosen = sample(labelled.queries, queries, seed)
    options = ask.second_stage(model, first_stage_weight)

    async def run() -> list[Ranking]:
        async with session.async_client() as client:
            await fill(client, name, labelled.corpus, extent.rows)
            evaluator = Evaluator(client, name, retrieve_k, options)
            return await rank_all(evaluator, chosen, calls_at_once)

    evaluation = measure_rankings(asyncio.run(run()), labelled.relevant)
    if session.as_json:
        settings = {"folder": labelled.name, "collection": name, "passages": extent.rows}
        limits = {"retrieve_k": retrieve_k, "calls_at_once": calls_at_once}
        write_json({**settings, **limits, **asdict(evaluation)})
    else:
        show(evaluation)
        say(
            f"{evaluation.num_queries:,} queries of {labelled.name} ({extent.rows:,} passages), "
            f"{retrieve_k} candidates each, {calls_at_once} queries at a time"
        )


def require_measures() -> None:
    """Raise ValueError where the measures are not installed; they come with an extra."""
    try:
        import ir_measures  # noqa: F401
    except ImportError as error:
        raise ValueError("evaluate needs ir-measures: pip install 'finesieve[evaluate]'") from error


async def fill(client: AsyncClient, collection: str, corpus: Path, num_rows: int) -> None:
    """Store the corpus in the collection, unless all of it is there."""
    if await make_where_missing(client, collection, "") == num_rows:
        say(f"{collection}: has all {num_rows:,} passages already")
        return
    load = Load(str(corpus), collection, num_rows)
    await load.store(client)
    say(load.summary())


async def rank_all(
    evaluator: Evaluator, queries: Mapping[str, str], calls_at_once: int
) -> list[Ranking]:
    """Rank every query, with a bar."""
    rankings = []
    with progress_bar() as progress:
        bar = progress.add_task("queries", total=len(queries))
        async for ranking in evaluator.rank_all(queries, calls_at_once):
            rankings.append(ranking)
            progress.advance(bar)
    return rankings


def show(evaluation: Evaluation) -> None:
    """Write what each arm is worth, with its distance from the first stage, and the latencies."""
    quality = evaluation.quality
    table = plain_table("", *MEASURES)
    for arm, values in quality.items():
        cells = [_value(values[name], quality[FIRST_STAGE][name]) for name in MEASURES]
        table.add_row(Text(arm, "bold"), *cells)
    latency = plain_table("", ">p50", ">p95")
    for stage, took in evaluation.latency.items():
        latency.add_row(stage, f"{took.p50_ms:,.1f} ms", f"{took.p95_ms:,.1f} ms")
    out().print(table)
    out().print()
    out().print(latency)
    if evaluation.unscored:
        say(f"{evaluation.unscored:,} candidates could not be scored; they count as ranked last")


def _value(value: float, first_stage: float) -> Text:
    """Return a value with its distance from the first stage's, where there is one to see."""
    difference = value - first_stage
    if abs(difference) < 0.0005:
        return Text(f"{value:.3f}")
    return Text.assemble(
        f"{value:.3f} ", (f"{difference:+.3f}", "green" if difference > 0 else "red")
    )
