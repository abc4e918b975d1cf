"""`finesieve evaluate`: what each stage is worth on a labelled set, through a running server."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.text import Text

from finesieve_client.async_client import AsyncClient
from finesieve_client.beir import collection_name, read_folder
from finesieve_client.cli import language_model as lm
from finesieve_client.cli import query as ask
from finesieve_client.cli.destination import make_where_missing
from finesieve_client.cli.ingest import Load
from finesieve_client.cli.rewriting import Rewriter, rewrites_of, show_spent, spent_as_values
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import out, plain_table, progress_bar, say, write_json
from finesieve_client.evaluation import (
    FIRST_STAGE,
    Evaluation,
    Evaluator,
    Ranking,
    evaluation_of,
    sample,
)
from finesieve_client.ingestion import Outcome
from finesieve_client.options import Mode
from finesieve_client.rows import Row, count_rows, digest, read_lines, read_rows


@dataclass(frozen=True, slots=True)
class Way:
    """One way to find candidates: how, and with which queries."""

    mode: Mode
    rewriter: Rewriter | None = None

    @property
    def name(self) -> str:
        """What it is called in the answer."""
        return self.mode if self.rewriter is None else f"{self.mode}, {self.rewriter.name}"


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
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODES",
            help="How candidates are found: dense, lexical or hybrid; several with commas "
            "between, or all, are measured on the same queries.",
        ),
    ] = "dense",
    model: ask.RerankModel = "",
    first_stage_weight: ask.Weight = None,
    rewrite: Annotated[
        str,
        typer.Option(
            metavar="WAYS",
            help="Have a language model rewrite each query: decompose, expand, hyde or step-back; "
            "several with commas between, or all, each beside the query as it is.",
            rich_help_panel=lm.PANEL,
        ),
    ] = "",
    llm: lm.Model = "",
    base_url: lm.BaseUrl = "",
    api_key_file: lm.ApiKeyFile = None,
    llm_prices: lm.LlmPrices = "",
) -> None:
    """Measure the first stage, the cross-encoder alone, and both, on labelled queries.

    The corpus is first stored in a collection of its own, as far as it is not there already.
    """
    require_measures()
    named = (llm, base_url, api_key_file, llm_prices)
    rewriters = [
        Rewriter(each, lm.language_model(session, *named)) for each in rewrites_of(rewrite)
    ]
    ways = [Way(each, rewriter) for each in modes_of(mode) for rewriter in (None, *rewriters)]
    labelled = read_folder(folder)
    corpus = str(labelled.corpus)
    name = collection or collection_name(labelled.name, digest(corpus))
    chosen = sample(labelled.queries, queries, seed)
    options = ask.second_stage(model, first_stage_weight)

    async def run() -> tuple[Outcome, list[list[Ranking]]]:
        async with session.async_client() as client:
            stored = await fill(client, name, corpus)
            rankings = []
            for way in ways:
                evaluator = Evaluator(
                    client, name, retrieve_k, options, mode=way.mode, rewrite=way.rewriter
                )
                rankings.append(await rank_all(evaluator, chosen, calls_at_once))
            return stored, rankings

    stored, rankings = asyncio.run(run())
    evaluations = [evaluation_of(ranked, labelled.relevant, retrieve_k) for ranked in rankings]
    if session.as_json:
        settings = {"folder": labelled.name, "collection": name, "passages": stored.good}
        limits = {"retrieve_k": retrieve_k, "calls_at_once": calls_at_once}
        measured = [measured_as_values(*each) for each in zip(ways, evaluations, strict=True)]
        results = measured[0] if len(measured) == 1 else {"modes": measured}
        spent = {"rewriters": spent_as_values(rewriters)} if rewriters else {}
        write_json({**settings, "bad_rows": len(stored.bad), **limits, **results, **spent})
    else:
        for way, evaluation in zip(ways, evaluations, strict=True):
            if len(evaluations) > 1:
                out().print(Text(way.name, "bold"))
            show(evaluation)
        show_spent(rewriters)
        without = f" without {len(stored.bad):,} bad rows" if stored.bad else ""
        say(
            f"{len(chosen):,} queries of {labelled.name} "
            f"({stored.good:,} passages{without}), {retrieve_k} candidates each, "
            f"{calls_at_once} queries at a time"
        )


def measured_as_values(way: Way, evaluation: Evaluation) -> dict[str, object]:
    """Return what one way is worth as plain values."""
    rewriter = way.rewriter
    return {
        "mode": way.mode,
        **({} if rewriter is None else {"rewrite": rewriter.name}),
        **asdict(evaluation),
    }


def modes_of(names: str) -> tuple[Mode, ...]:
    """Return the modes that are named, with commas between; raises ValueError for no mode."""
    known: tuple[Mode, ...] = get_args(Mode)
    if names == "all":
        return known
    if unknown := [name for name in names.split(",") if name not in known]:
        raise ValueError(f"--mode is {unknown[0]!r}; allowed: {', '.join(known)}, all")
    return tuple(mode for mode in known if mode in names.split(","))


def require_measures() -> None:
    """Raise ValueError where the measures are not installed; they come with an extra."""
    try:
        import ir_measures  # noqa: F401
    except ImportError as error:
        raise ValueError("evaluate needs ir-measures: pip install 'finesieve[evaluate]'") from error


async def fill(client: AsyncClient, collection: str, corpus: str) -> Outcome:
    """Store in the collection what it does not have of the corpus, and only in its own."""
    if (await make_where_missing(client, collection, "")).passage_count:
        await refuse_strangers(client, collection, corpus)
    load = Load(corpus, collection, count_rows(corpus))
    await load.store(client)
    say(load.summary())
    return load.total


async def refuse_strangers(client: AsyncClient, collection: str, corpus: str) -> None:
    """Raise ValueError where the collection holds what is not in the corpus."""
    ids = {row.passage.id for row in read_rows(read_lines(corpus)) if isinstance(row, Row)}
    async for passage in client.all_passages(collection, view="id"):
        if passage.id not in ids:
            raise ValueError(
                f"the collection {collection} holds {passage.id!r}, which is not in {corpus}; "
                "--collection NAME names another"
            )


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
    first_stage = quality[FIRST_STAGE]
    table = plain_table("", *first_stage)
    for arm, values in quality.items():
        cells = [_value(values[name], first_stage[name]) for name in first_stage]
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
