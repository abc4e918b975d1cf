"""Score candidates on this server's own devices; when they are scored is the batcher's to say."""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.work import Done, Row, Work
from finesieve_server.errors import InvalidArgument, ModelFailure
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.pair_keys import PairKeys
from finesieve_server.search.pair_tokenizer import PairTokenizer
from finesieve_server.search.pairs import Pairs
from finesieve_server.search.ranking import Ranked, Score, Scored, ScoreStatus, Usage
from finesieve_server.search.texts import TokenizerPool, check_text


class LocalScorer:
    """A `Scorer` over the models that are loaded here."""

    def __init__(
        self, models: Models, batcher: Batcher, tokenizers: TokenizerPool, limits: Limits
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._pairs = PairTokenizer(batcher, tokenizers, limits)
        self._keys = PairKeys()
        self._limits = limits

    def tokens_key(self, options: RerankOptions) -> str:
        """Raises InvalidArgument for the instruction, and what Models raises."""
        return self._model(options).tokens_key

    async def score(
        self,
        query: str,
        candidates: Sequence[Candidate],
        options: RerankOptions,
        call: Call,
        scored_by: float,
    ) -> Scored:
        """Raises InvalidArgument for the query or the instruction, what Models raises, and what the
        batcher raises."""
        model = self._model(options)
        check_text("query", query, self._limits.max_query_chars)
        with call.times.measure("rerank"):
            pairs, query_truncated = await self._pairs.pairs(
                model, query, candidates, options, call
            )
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
        return Scored(
            [
                _judge(index, each, list(islice(rows, len(each.framed))), model)
                for index, each in enumerate(pairs)
            ],
            model.name,
            model.manifest.first_stage_weight,
            query_truncated,
            _usage(framed, done),
        )

    def _model(self, options: RerankOptions) -> CrossEncoder:
        model = self._models.cross_encoder(options.model)
        if options.instruction:
            field = f"{options.path}.instruction"
            if not model.query_template.takes_instruction:
                raise InvalidArgument(field, f"is not taken by model {model.name!r}")
            check_text(field, options.instruction, self._limits.max_query_chars)
        return model


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
    # As callers get it, in 32 bits: what a replica answers is what it would be here.
    probability = float(np.float32(model.probability(logits[best])))
    return Ranked(
        index,
        ScoreStatus.TRUNCATED if pairs.truncated else ScoreStatus.SCORED,
        Score(logits[best], probability, ordering=logits[best]),
        best_span=pairs.spans[best] if pairs.spans else None,
    )


def _usage(framed: Sequence[Framed], done: Done) -> Usage:
    """Count the pairs that were worked through; those a deadline cut off were not."""
    lengths = [len(each) for each, row in zip(framed, done.rows, strict=True) if row is not None]
    return Usage(pairs=len(lengths), tokens=sum(lengths), cached_pairs=done.shared)
