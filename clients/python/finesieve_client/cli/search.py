"""`finesieve search`: ask a collection, in two stages or one; how a hit looks."""

from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.results_pb2 import Hit
from finesieve.v1.search_pb2 import SearchHit, SearchResponse
from finesieve_client.cli import query as ask
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import milliseconds, one_line, out, plain, say, write_json
from finesieve_client.comparison import moved

SNIPPET_CHARACTERS = 300


@with_session
def search(
    session: Session,
    query: ask.Query,
    collection: ask.CollectionName = "",
    top_n: ask.TopN = 10,
    retrieve_k: ask.RetrieveK = 100,
    mode: ask.ModeName = "dense",
    where: ask.Where = None,
    window: ask.Window = 0,
    merge_share: ask.MergeShare = 0.0,
    diversity: ask.Diversity = None,
    model: ask.RerankModel = "",
    first_stage_weight: ask.Weight = None,
    instruction: ask.Instruction = "",
    skip_rerank: Annotated[bool, typer.Option("--skip-rerank", help="First stage alone.")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every passage, not by the graph.")
    ] = False,
) -> None:
    """Search a collection: retrieve candidates, rerank them, show the best.

    The order comes from both stages' scores; the probability is the cross-encoder's alone.
    """
    condition = ask.condition_of(where)
    with session.client() as client:
        name = ask.only_collection(client, collection)
        answer = client.search(
            name,
            query,
            retrieve_k=retrieve_k,
            top_n=top_n,
            skip_rerank=skip_rerank,
            window=window,
            merge_share=merge_share,
            diversity=diversity,
            filter=condition,
            mode=mode,
            exact=exact,
            **ask.second_stage(model, first_stage_weight, instruction),
        )
    if session.as_json:
        write_json({"collection": name, "query": query, **plain(answer)})
        return
    for found in answer.hits:
        show(found, reranked=not skip_rerank)
    say(summary(answer, name))


def show(found: SearchHit, *, reranked: bool) -> None:
    """Write one hit: its rank, title and score in a line, below it the words that matter."""
    line = headline(found.hit, reranked=reranked)
    if count := len(found.merged_ids):
        line.append(f"  in place of {count} found in it", "dim")
    out().print(line)
    out().print(Padding(body(found), (0, 0, 1, 5)))


def body(found: SearchHit) -> Text:
    """Return the words that matter of a hit, which stand out where others stand around them."""
    if not (found.before or found.after):
        return Text(snippet(found.hit), "dim")
    return Text(" ").join(
        [
            *(Text(beginning(passage), "dim") for passage in found.before),
            Text(snippet(found.hit)),
            *(Text(beginning(passage), "dim") for passage in found.after),
        ]
    )


def headline(hit: Hit, *, reranked: bool) -> Text:
    """Return a hit's rank and title, and the number that the last stage gave it, by its name."""
    line = Text.assemble((f"{hit.rank:>3}  ", "dim"), heading(hit.passage), "  ")
    if reranked:
        line.append_text(probability_text(hit, label="probability "))
        return line.append("  ").append_text(moved_text(hit))
    return line.append(f"score {hit.retrieval_score:.3f}", "dim")


def summary(answer: SearchResponse, collection: str) -> str:
    """Return how many hits there are and what they took."""
    count = len(answer.hits)
    counted = "nothing found" if not count else "1 hit" if count == 1 else f"{count} hits"
    partial = "; the deadline left some candidates unscored" if answer.partial else ""
    cut = "; the query was too long and was cut" if answer.query_truncated else ""
    took = milliseconds(answer.timings.total_us)
    return f"{counted} in {collection}, {took}{partial}{cut}"


def heading(passage: Passage, style: str = "bold") -> Text:
    """Return a passage's title, and its id where the title does not begin with that."""
    title, passage_id = one_line(passage.title), one_line(passage.id)
    if title.startswith(passage_id):
        return Text(title, style)
    return Text.assemble((title, style), (f"  {passage_id}" if title else passage_id, "dim"))


def snippet(hit: Hit) -> str:
    """Return the text around the chunk that won, else the text's beginning."""
    start = hit.best_span.start if hit.HasField("best_span") else 0
    return ("… " if start else "") + beginning(hit.passage, start)


def beginning(passage: Passage, start: int = 0) -> str:
    """Return a passage's text from a character on, as much as a hit shows."""
    return one_line(passage.text[start : start + SNIPPET_CHARACTERS])


def moved_text(hit: Hit, *, new: bool = False) -> Text:
    """Return how many places reranking moved a hit, as an arrow and a number."""
    places = moved(hit)
    if new:
        return Text(f"new ▲{places}", "bold green")
    if places > 0:
        return Text(f"▲{places}", "green")
    if places < 0:
        return Text(f"▼{-places}", "red")
    return Text("=", "dim")


def probability_text(hit: Hit, label: str = "") -> Text:
    """Return the probability that the second stage gave, or why there is none."""
    if hit.HasField("score"):
        return Text.assemble((label, "dim"), (f"{hit.score.probability:.3f}", "cyan"))
    if hit.HasField("failure"):
        return Text(f"not scored: {one_line(hit.failure.message)}", "red")
    return Text("not scored", "dim")
