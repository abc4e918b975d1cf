"""Make an order of what a cross-encoder said of the candidates, blended with the first stage. Pure.

A score is what a pair alone decides. The order, and what is left out of it, is what all candidates
decide together: here, whoever scored them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from finesieve_server.errors import FinesieveError, InvalidArgument
from finesieve_server.search.blend import blend
from finesieve_server.search.candidates import Candidate, RerankOptions


class ScoreStatus(Enum):
    """How a candidate came by its score, or why it has none. In the order of the answer."""

    SCORED = 1
    TRUNCATED = 2
    DEADLINE = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Score:
    """`logit` and `probability` depend on the pair alone, `ordering` on all candidates."""

    logit: float
    probability: float
    ordering: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate in the answer; `index` is its place in the request."""

    index: int
    status: ScoreStatus
    score: Score | None = None
    best_span: tuple[int, int] | None = None
    failure: FinesieveError | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What was worked through; `cached_pairs` of the pairs cost nothing, being known already."""

    pairs: int = 0
    tokens: int = 0
    cached_pairs: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model said of candidates, in their order and with it as their `ordering` so far.

    `own_weight` is the weight of the first stage that the model itself is best blended with.
    """

    judged: Sequence[Ranked]
    model: str
    own_weight: float
    query_truncated: bool
    usage: Usage


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates, best first, and how complete the scoring is."""

    results: list[Ranked]
    model: str
    own_weight: float
    partial: bool
    query_truncated: bool
    usage: Usage


def first_stage_order(candidates: Sequence[Candidate]) -> list[int]:
    """Return the candidates' indexes, best first stage first, ties in the order of the request.

    Raises InvalidArgument where some have no first-stage score and others do, or one is not finite.
    """
    scores = [each.first_stage_score for each in candidates]
    given = len(scores) - scores.count(None)
    for position, score in enumerate(scores):
        field = f"documents[{position}].first_stage_score"
        if score is None and given:
            raise InvalidArgument(field, f"is missing; {given} others have one, all or none may")
        if score is not None and not math.isfinite(score):
            raise InvalidArgument(field, f"is {score}; it must be finite")
    return sorted(range(len(scores)), key=lambda index: -(scores[index] or 0.0))


def rank(scored: Scored, candidates: Sequence[Candidate], options: RerankOptions) -> Ranking:
    """Return the candidates, best first, less those under `min_probability`.

    `scored` has them in first-stage order; those without a score follow the others in it.
    """
    weight = options.first_stage_weight
    if weight is None:
        weight = _own_weight(scored)
    ranked = _in_order(scored.judged, candidates, weight)
    return Ranking(
        [each for each in ranked if not _is_improbable(each, options.min_probability)],
        scored.model,
        scored.own_weight,
        partial=any(each.status is ScoreStatus.DEADLINE for each in ranked),
        query_truncated=scored.query_truncated,
        usage=scored.usage,
    )


def _own_weight(scored: Scored) -> float:
    """Return the model's own weight of the first stage.

    Two scores standardise to 1 and -1 however far apart they are: where the stages disagree on
    two candidates the blend knows nothing, and the cross-encoder decides.
    """
    count = sum(each.score is not None for each in scored.judged)
    return scored.own_weight if count > 2 else 0.0


def _in_order(
    judged: Sequence[Ranked], candidates: Sequence[Candidate], weight: float
) -> list[Ranked]:
    """Sort what came in first-stage order: scored ones first, then late, then failed ones.

    Sorting is stable, so ties keep the first stage's order.
    """
    scored = [(each, each.score) for each in judged if each.score is not None]
    first_stage = [candidates[each.index].first_stage_score for each, _ in scored]
    known = [score for score in first_stage if score is not None]
    if scored and known and weight > 0:
        logits = np.array([score.logit for _, score in scored])
        orderings = blend(logits, np.array(known), weight).tolist()
        scored = [
            (each, replace(score, ordering=ordering))
            for (each, score), ordering in zip(scored, orderings, strict=True)
        ]
    scored.sort(key=lambda pair: -pair[1].ordering)
    unscored = sorted(
        (each for each in judged if each.score is None), key=lambda each: each.status.value
    )
    return [*(replace(each, score=score) for each, score in scored), *unscored]


def _is_improbable(ranked: Ranked, min_probability: float | None) -> bool:
    if min_probability is None or ranked.score is None:
        return False
    return ranked.score.probability < min_probability
