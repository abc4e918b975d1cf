"""`finesieve compare`: what the first stage found, beside what reranking made of it."""

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

import finesieve_client
from finesieve.v1.results_pb2 import Hit
from finesieve_client.cli import query as ask
from finesieve_client.cli.search import heading, moved_text, probability_text, snippet
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import milliseconds, one_line, out, plain, say, write_json
from finesieve_client.comparison import CANDIDATES, SHOWN, Comparison, moved

BAR_WIDTH = 40
STAGE_COLOURS = {"embed": "blue", "retrieve": "cyan", "rerank": "magenta", "other": "bright_black"}


@with_session
def compare(
    session: Session,
    query: ask.Query,
    collection: ask.CollectionName = "",
    top_n: ask.TopN = SHOWN,
    retrieve_k: ask.RetrieveK = CANDIDATES,
    where: ask.Where = None,
    model: ask.RerankModel = "",
    first_stage_weight: ask.Weight = None,
) -> None:
    """Show the first stage's hits and the reranked ones side by side.

    The second order comes from both stages' scores; the probability is the cross-encoder's alone.
    """
    condition = ask.condition_of(where)
    with session.client() as client:
        comparison = finesieve_client.compare(
            client,
            ask.only_collection(client, collection),
            query,
            retrieve_k=retrieve_k,
            top_n=top_n,
            filter=condition,
            **ask.second_stage(model, first_stage_weight),
        )
    if session.as_json:
        write_json(as_values(comparison))
    elif comparison.hits:
        out().print(draw(comparison))
    else:
        say(f"nothing found in {comparison.collection}")


def draw(comparison: Comparison) -> RenderableType:
    """Return a comparison as a table with its summary and where the time went."""
    return Group(
        Rule(_asked(comparison), align="left", style="dim"),
        _table(comparison),
        Text(),
        _summary(comparison),
        _time(comparison),
    )


def as_values(comparison: Comparison) -> dict[str, object]:
    """Return a comparison as plain values: all candidates in their last order, with moves."""
    return {
        "collection": comparison.collection,
        "query": comparison.query,
        "top_n": comparison.top_n,
        "hits": [
            {**plain(hit), "moved": moved(hit), "new": comparison.is_new(hit)}
            for hit in comparison.hits
        ],
        "partial": comparison.partial,
        "timings": plain(comparison.timings),
        "usage": plain(comparison.usage),
        "round_trip_us": comparison.round_trip_us,
    }


def _asked(comparison: Comparison) -> Text:
    return Text.assemble(
        (one_line(comparison.query), "bold"), (f"  in {one_line(comparison.collection)}", "dim")
    )


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", justify="right", style="dim")
    table.add_column("first stage: score → new place", ratio=1)
    table.add_column("│", style="dim")
    table.add_column("both stages: probability, move", ratio=1)
    rows = zip(comparison.first_stage, comparison.second_stage, strict=True)
    for rank, (before, after) in enumerate(rows, start=1):
        new = comparison.is_new(after)
        lost = before.rank > comparison.top_n
        score = (f"{before.retrieval_score:.3f} ", "dim")
        place = (f"→ {before.rank}", "red" if lost else "dim")
        second = Text(" ").join([probability_text(after), moved_text(after, new=new)])
        table.add_row(
            str(rank),
            _passage(before, "dim" if lost else "", Text.assemble(score, place)),
            "│\n│",
            _passage(after, "bold green" if new else "bold", second),
        )
    return table


def _passage(hit: Hit, style: str, numbers: Text) -> Text:
    """Return the title and, below it, the numbers and the text, each cut at the column's end."""
    lines = Text.assemble(heading(hit.passage, style), "\n", numbers, "  ", (snippet(hit), "dim"))
    lines.no_wrap = True
    lines.overflow = "ellipsis"
    return lines


def _summary(comparison: Comparison) -> Text:
    best = comparison.hits[0]
    first = "stayed first" if best.retrieval_rank == 1 else f"was at {best.retrieval_rank}"
    num_new = comparison.num_new
    summary = Text.assemble(
        (f"{len(comparison.hits)} candidates", "bold"),
        f"  ·  the best hit {first}  ·  ",
        (f"{num_new} new", "bold green" if num_new else "dim"),
        f" among the best {comparison.top_n}",
    )
    if comparison.partial:
        summary.append("  ·  the deadline left some unscored", "yellow")
    return summary


def _time(comparison: Comparison) -> Text:
    """Return a bar of where the time went and, below it, each stage's; "other" is the rest."""
    timings = comparison.timings
    stages = {
        "embed": timings.embed_us,
        "retrieve": timings.retrieve_us,
        "rerank": timings.rerank_us,
    }
    stages["other"] = max(0, timings.total_us - sum(stages.values()))
    total = max(1, sum(stages.values()))
    bar, legend = Text(), Text()
    for stage, spent_us in stages.items():
        bar.append("━" * round(BAR_WIDTH * spent_us / total), STAGE_COLOURS[stage])
        legend.append(f"{stage} ", STAGE_COLOURS[stage]).append(f"{milliseconds(spent_us)}   ")
    bar.append(f"  {milliseconds(timings.total_us)}", "bold")
    bar.append(f"  {comparison.usage.tokens:,} tokens reranked", "dim")
    return bar + Text("\n") + legend
