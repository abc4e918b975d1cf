"""`finesieve search`: ask a collection, in two stages or one."""

from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from finesieve.v1.results_pb2 import Hit
from finesieve.v1.search_pb2 import SearchResponse
from finesieve_client.cli import query as ask
from finesieve_client.cli.hits import heading, moved_text, score_text, snippet
from finesieve_client.cli.plain import plain
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import milliseconds, out, say, write_json


@with_session
def search(
    session: Session,
    query: ask.Query,
    collection: ask.CollectionName = "",
    top_n: ask.TopN = 10,
    retrieve_k: ask.RetrieveK = 100,
    where: ask.Where = None,
    model: ask.RerankModel = "",
    first_stage_weight: ask.Weight = None,
    skip_rerank: Annotated[bool, typer.Option("--skip-rerank", help="First stage alone.")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every passage, not by the graph.")
    ] = False,
) -> None:
    """Search a collection: retrieve candidates, rerank them, show the best."""
    condition = ask.condition_of(where)
    with session.client() as client:
        name = ask.only_collection(client, collection)
        answer = client.search(
            name,
            query,
            retrieve_k=retrieve_k,
            top_n=top_n,
            skip_rerank=skip_rerank,
            filter=condition,
            exact=exact,
            **ask.second_stage(model, first_stage_weight),
        )
    if session.as_json:
        write_json({"collection": name, "query": query, **plain(answer)})
        return
    for found in answer.hits:
        show(found.hit, reranked=not skip_rerank)
    say(summary(answer, name))


def show(hit: Hit, *, reranked: bool) -> None:
    """Write one hit: its rank, title and score in a line, below it the words that matter."""
    rank = Text(f"{hit.rank:>3}  ", "dim")
    line = Text("  ").join([heading(hit.passage), score_text(hit)])
    if reranked:
        line.append("  ").append_text(moved_text(hit))
    out().print(rank + line)
    out().print(Padding(Text(snippet(hit), "dim"), (0, 0, 1, 5)))


def summary(answer: SearchResponse, collection: str) -> str:
    """Return how many hits there are and what they took."""
    count = len(answer.hits)
    counted = "nothing found" if not count else "1 hit" if count == 1 else f"{count} hits"
    partial = "; the deadline left some candidates unscored" if answer.partial else ""
    cut = "; the query was too long and was cut" if answer.query_truncated else ""
    took = milliseconds(answer.timings.total_us)
    return f"{counted} in {collection}, {took}{partial}{cut}"
