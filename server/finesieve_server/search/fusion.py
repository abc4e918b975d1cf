"""Fuse rankings of the same passages into one. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from finesieve_server.index.records import Found

RANK_CONSTANT = 60  # how little the first ranks stand out; the contract names it


def fuse(rankings: Sequence[Sequence[Found]], top_k: int) -> list[Found]:
    """Return the passages of all rankings, best first, scored by reciprocal rank.

    Ties go by the best rank in any ranking, then by id. One ranking alone stays as it is.
    Source: Cormack, Clarke & Buettcher 2009, doi:10.1145/1571941.1572114.
    """
    if len(rankings) == 1:
        return list(rankings[0][:top_k])
    found: dict[str, Found] = {}
    scores: dict[str, float] = {}
    best: dict[str, int] = {}
    for ranking in rankings:
        for rank, each in enumerate(ranking, start=1):
            id_ = each.passage.id
            found.setdefault(id_, each)
            scores[id_] = scores.get(id_, 0.0) + 1 / (RANK_CONSTANT + rank)
            best[id_] = min(rank, best.get(id_, rank))
    order = sorted(found, key=lambda id_: (-scores[id_], best[id_], id_))
    return [replace(found[id_], score=scores[id_]) for id_ in order[:top_k]]
