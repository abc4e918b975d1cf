"""`finesieve tournament`: candidates ordered by a language model, beside the cross-encoder's order.

How far both agree says nothing of who is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from finesieve.v1.results_pb2 import Hit
from finesieve_client.cli import language_model as lm
from finesieve_client.cli import query as ask
from finesieve_client.cli.search import heading
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import out, plain_table, say, write_json
from finesieve_client.rag.agreement import Agreement, agreement
from finesieve_client.rag.tournament import PAIRS_PER_CALL, Tournament
from finesieve_client.rag.tournament import tournament as play


@with_session
def tournament(
    session: Session,
    query: ask.Query,
    collection: ask.CollectionName = "",
    retrieve_k: ask.RetrieveK = 10,
    top_n: ask.TopN = 10,
    mode: ask.ModeName = "dense",
    where: ask.Where = None,
    model: ask.RerankModel = "",
    pairs_per_call: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pairs judged in one call of the model.")
    ] = PAIRS_PER_CALL,
    llm: lm.Model = "",
    base_url: lm.BaseUrl = "",
    api_key_file: lm.ApiKeyFile = None,
    llm_prices: lm.LlmPrices = "",
) -> None:
    """Order candidates by a language model that judges two at a time, and compare the orders.

    All pairs up to ten candidates, knock-out rounds above; each pair is asked in both orders.
    """
    judge = lm.language_model(session, llm, base_url, api_key_file, llm_prices)
    condition = ask.condition_of(where)
    with session.client() as client:
        found = client.search(
            ask.only_collection(client, collection),
            query,
            retrieve_k=retrieve_k,
            top_n=retrieve_k,
            filter=condition,
            mode=mode,
            model=model,
        ).hits
    hits = sorted((each.hit for each in found), key=lambda hit: hit.retrieval_rank)
    played = play(query, [hit.passage for hit in hits], judge, pairs_per_call=pairs_per_call)
    orders = orders_of(hits)
    agreements = {name: agreement(played.order, order) for name, order in orders.items()}
    if session.as_json:
        write_json(as_values(query, hits, played, agreements))
        return
    if not hits:
        say("nothing found")
        return
    out().print(order_table(hits, played, orders["cross-encoder"], top_n))
    out().print()
    out().print(agreement_table(agreements))
    unread = f", {played.num_unread} verdicts could not be read" if played.num_unread else ""
    say(
        f"{played.num_pairs} pairs, {played.num_consistent} judged alike in both orders{unread}; "
        f"{lm.spent(played.usage)}"
    )


def orders_of(hits: Sequence[Hit]) -> dict[str, list[int]]:
    """Return the other orders of hits that are in the first stage's, as places among them."""
    places = range(len(hits))
    return {
        "cross-encoder": sorted(
            places, key=lambda at: (not hits[at].HasField("score"), -hits[at].score.logit, at)
        ),
        "both stages": sorted(places, key=lambda at: hits[at].rank),
        "first stage": list(places),
    }


def order_table(
    hits: Sequence[Hit], played: Tournament, cross_encoder: Sequence[int], top_n: int
) -> Table:
    """Return the tournament's order with each passage's rank in the others."""
    table = plain_table(">", "passage", ">first stage", ">cross-encoder", ">probability")
    for rank, place in enumerate(played.order[:top_n], start=1):
        hit = hits[place]
        probability = f"{hit.score.probability:.3f}" if hit.HasField("score") else "–"
        table.add_row(
            Text(f"{rank}", "dim"),
            heading(hit.passage),
            f"{place + 1}",
            f"{cross_encoder.index(place) + 1}",
            Text(probability, "cyan"),
        )
    return table


def agreement_table(agreements: Mapping[str, Agreement]) -> Table:
    """Return how far the tournament agrees with each other order."""
    depths = next(iter(agreements.values())).overlap
    columns = [f">same among {depth}" for depth in depths]
    table = plain_table("agreement with", ">Kendall's tau", *columns)
    for name, found in agreements.items():
        tau = "–" if found.kendall_tau is None else f"{found.kendall_tau:+.2f}"
        table.add_row(name, tau, *(f"{share:.0%}" for share in found.overlap.values()))
    return table


def as_values(
    query: str, hits: Sequence[Hit], played: Tournament, agreements: Mapping[str, Agreement]
) -> dict[str, object]:
    """Return the order, what it took and how far it agrees with others, as plain values."""
    return {
        "query": query,
        "order": [hits[place].passage.id for place in played.order],
        "first_stage": [hit.passage.id for hit in hits],
        "agreement": {name: asdict(found) for name, found in agreements.items()},
        "pairs": played.num_pairs,
        "consistent": played.num_consistent,
        "unread": played.num_unread,
        "usage": asdict(played.usage),
    }
