"""Order candidates by a cross-encoder's scores and the first stage's.

Says until when the scores must be there and how they become an order; who makes them is a Scorer's.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from finesieve_server.search.answer_margin import AnswerMargin
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.ranking import Ranking, Scored, first_stage_order, rank


class Scorer(Protocol):
    """Scores pairs of a query and a candidate: on this server's devices, or on a replica's."""

    def tokens_key(self, options: RerankOptions) -> str:
        """Return the key under which ingest keeps what the model reads of a passage, "" for none.

        May raise what `score` raises for these options.
        """
        ...

    async def score(
        self,
        query: str,
        candidates: Sequence[Candidate],
        options: RerankOptions,
        call: Call,
        scored_by: float,
    ) -> Scored:
        """Return what the model says of each candidate, in their order, best first stage first.

        A partial call has its answer by `scored_by`, with DEADLINE for what is not scored then. A
        candidate that cannot be scored is FAILED alone.
        """
        ...


class Reranker:
    """The second stage."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._margin = AnswerMargin()

    def tokens_key(self, options: RerankOptions) -> str:
        """Return the key of what ingest kept for the model; see Scorer."""
        return self._scorer.tokens_key(options)

    async def rank(
        self, query: str, candidates: Sequence[Candidate], options: RerankOptions, call: Call
    ) -> Ranking:
        """Return all candidates, best first, less those under `min_probability`.

        Unscored candidates follow the scored ones in first-stage order. Raises InvalidArgument for
        mixed first-stage scores, and what the scorer raises.
        """
        if not options.partial:
            return await self._rank(query, candidates, options, call, call.deadline)
        time_s = call.deadline - time.monotonic()
        scored_by = call.deadline - self._margin.of(time_s)
        try:
            made = await self._rank(query, candidates, options, call, scored_by)
        except asyncio.CancelledError:
            if time.monotonic() >= call.deadline:
                self._margin.observe(time_s, 0.0)
            raise
        if made.partial:
            self._margin.observe(time_s, call.deadline - time.monotonic())
        return made

    async def _rank(
        self,
        query: str,
        candidates: Sequence[Candidate],
        options: RerankOptions,
        call: Call,
        scored_by: float,
    ) -> Ranking:
        order = first_stage_order(candidates)
        in_order = [candidates[index] for index in order]
        scored = await self._scorer.score(query, in_order, options, call, scored_by)
        judged = [replace(each, index=order[each.index]) for each in scored.judged]
        return rank(replace(scored, judged=judged), candidates, options)
