"""Order candidates by a cross-encoder, blended with the first stage.

Says which pairs are scored and how scores become an order; when they are scored is the batcher's.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

import numpy as np

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.work import Done, Row, Work
from finesieve_server.errors import FinesieveError, InvalidArgument, ModelFailure
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed
from finesieve_server.search.answer_margin import AnswerMargin
from finesieve_server.search.blend import blend
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.pair_keys import PairKeys
from finesieve_server.search.pair_tokenizer import PairTokenizer
from finesieve_server.search.pairs import Pairs
from finesieve_server.search.texts import TokenizerPool, check_text


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
class Ranking:
    """The candidates, best first, and how complete the scoring is."""

    results: list[Ranked]
    model: str
    partial: bool
    query_truncated: bool
    usage: Usage


class Reranker:
    """The second stage."""

    def __init__(
        self, models: Models, batcher: Batcher, tokenizers: TokenizerPool, limits: Limits
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._pairs = PairTokenizer(batcher, tokenizers, limits)
        self._keys = PairKeys()
        self._margin = AnswerMargin()
        self._limits = limits

    def tokens_key(self, options: RerankOptions) -> str:
        """Return the key under which ingest keeps what this model reads of a passage.

        Raises InvalidArgument for the instruction, and what Models raises.
        """
        return self._model(options).tokens_key

    async def rank(
        self, query: str, candidates: Sequence[Candidate], options: RerankOptions, call: Call
    ) -> Ranking:
        """Return all candidates, best first, less those under `min_probability`.

        Unscored candidates follow the scored ones in first-stage order. A candidate that cannot be
        scored is FAILED alone. Raises InvalidArgument for the query, the instruction or mixed
        first-stage scores, what Models raises, and what the batcher raises.
        """
        if not options.partial:
            return await self._rank(query, candidates, options, call, call.deadline)
        time_s = call.deadline - time.monotonic()
        scored_by = call.deadline - self._margin.of(time_s)
        try:
            ranking = await self._rank(query, candidates, options, call, scored_by)
        except asyncio.CancelledError:
            if time.monotonic() >= call.deadline:
                self._margin.observe(time_s, 0.0)
            raise
        if ranking.partial:
            self._margin.observe(time_s, call.deadline - time.monotonic())
        return ranking

    async def _rank(
        self,
        query: str,
        candidates: Sequence[Candidate],
        options: RerankOptions,
        call: Call,
        scored_by: float,
    ) -> Ranking:
        model = self._model(options)
        check_text("query", query, self._limits.max_query_chars)
        order = _first_stage_order(candidates)
        with call.times.measure("rerank"):
            in_order = [candidates[index] for index in order]
            pairs, query_truncated = await self._pairs.pairs(model, query, in_order, options, call)
            framed = [framed for each in pairs for framed in each.framed]
            done = await self._batcher.run(
                Work(
                    model.name,
                    framed,
                    scored_by,
                    options.priority,
                    options.partial,
                    call.tenant,
                    self._keys.keys(model, call.tenant, framed),
                )
            )
            call.times.add("queue", done.queue_s)
        rows = iter(done.rows)
        judged = [
            _judge(index, each, list(islice(rows, len(each.framed))), model)
            for index, each in zip(order, pairs, strict=True)
        ]
        weight = options.first_stage_weight
        if weight is None:
            weight = _own_weight(model, judged)
        ranked = _in_order(judged, candidates, weight)
        return Ranking(
            [each for each in ranked if not _is_improbable(each, options.min_probability)],
            model.name,
            partial=any(each.status is ScoreStatus.DEADLINE for each in ranked),
            query_truncated=query_truncated,
            usage=_usage(framed, done),
        )

    def _model(self, options: RerankOptions) -> CrossEncoder:
        model = self._models.cross_encoder(options.model)
        if options.instruction:
            field = f"{options.path}.instruction"
            if not model.query_template.takes_instruction:
                raise InvalidArgument(field, f"is not taken by model {model.name!r}")
            check_text(field, options.instruction, self._limits.max_query_chars)
        return model


def _first_stage_order(candidates: Sequence[Candidate]) -> list[int]:
    """Return the candidates' indexes, best first stage first, ties in the order of the request."""
    scores = [each.first_stage_score for each in candidates]
    given = len(scores) - scores.count(None)
    for position, score in enumerate(scores):
        field = f"documents[{position}].first_stage_score"
        if score is None and given:
            raise InvalidArgument(field, f"is missing; {given} others have one, all or none may")
        if score is not None and not math.isfinite(score):
            raise InvalidArgument(field, f"is {score}; it must be finite")
    return sorted(range(len(scores)), key=lambda index: -(scores[index] or 0.0))


def _judge(index: int, pairs: Pairs, rows: Sequence[Row], model: CrossEncoder) -> Ranked:
    """Return what the model said of one candidate; its best chunk counts."""
    failure = pairs.failure or next((row for row in rows if isinstance(row, ModelFailure)), None)
    if failure is not None:
        return Ranked(index, ScoreStatus.FAILED, failure=failure)
    logits = [float(row) for row in rows if isinstance(row, np.float32)]
    if not rows or len(logits) < len(
        rows
    ):  # a score of some chunks would depend on when, not on what
        return Ranked(index, ScoreStatus.DEADLINE)
    best = int(np.argmax(logits))
    return Ranked(
        index,
        ScoreStatus.TRUNCATED if pairs.truncated else ScoreStatus.SCORED,
        Score(logits[best], model.probability(logits[best]), ordering=logits[best]),
        best_span=pairs.spans[best] if pairs.spans else None,
    )


def _own_weight(model: CrossEncoder, judged: Sequence[Ranked]) -> float:
    """Return the model's own weight of the first stage.

    Two scores standardise to 1 and -1 however far apart they are: where the stages disagree on
    two candidates the blend knows nothing, and the cross-encoder decides.
    """
    scored = sum(each.score is not None for each in judged)
    return model.manifest.first_stage_weight if scored > 2 else 0.0


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


def _usage(framed: Sequence[Framed], done: Done) -> Usage:
    """Count the pairs that were worked through; those a deadline cut off were not."""
    lengths = [len(each) for each, row in zip(framed, done.rows, strict=True) if row is not None]
    return Usage(pairs=len(lengths), tokens=sum(lengths), cached_pairs=done.shared)


def _is_improbable(ranked: Ranked, min_probability: float | None) -> bool:
    if min_probability is None or ranked.score is None:
        return False
    return ranked.score.probability < min_probability
