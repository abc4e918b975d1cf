"""Turn a query and its candidates into pairs: from kept tokens where there are, else tokenized now.

The answer is the same to the bit: what is kept is what would be made.
"""

import math
import time
from collections.abc import Sequence

from finesieve_server.errors import FinesieveError
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import TokenIds
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.limits import Limits
from finesieve_server.search.pairs import PairMaker, Pairs
from finesieve_server.search.texts import TokenizerPool, check_text, full_text


class PairTokenizer:
    """What stands between the reranker's candidates and the batcher's items."""

    def __init__(self, tokenizers: TokenizerPool, limits: Limits) -> None:
        self._tokenizers = tokenizers
        self._limits = limits

    async def pairs(
        self,
        model: CrossEncoder,
        query: str,
        candidates: Sequence[Candidate],
        options: RerankOptions,
        call: Call,
    ) -> tuple[PairMaker, list[Pairs]]:
        """Return the candidates' pairs; none for one that failed, or that comes too late.

        A partial call tokenizes for half of its time at most.
        """
        now = time.monotonic()
        until = now + (call.deadline - now) / 2 if options.partial else math.inf
        [query_ids] = await self._tokenizers.encode(model.tokenizer, [query], call)
        maker = PairMaker(
            model,
            query_ids,
            long_passage=options.long_passage,
            max_passage_tokens=options.max_passage_tokens,
            max_chunks=options.max_chunks,
        )
        failures = list(map(self._failure, candidates))
        passages = {
            position: kept
            for position, each in enumerate(candidates)
            if failures[position] is None and (kept := _kept(each, maker, model)) is not None
        }
        missing = [
            position
            for position, failure in enumerate(failures)
            if failure is None and position not in passages
        ]
        texts = [_text(model, candidates[position]) for position in missing]
        encoded = await self._tokenizers.encode(model.tokenizer, texts, call, until=until)
        passages.update(zip(missing, encoded, strict=False))  # some may come too late
        pairs: list[Pairs] = []
        for position, candidate in enumerate(candidates):
            passage = passages.get(position)
            if passage is None:
                pairs.append(Pairs((), failure=failures[position]))
            elif not maker.needs_offsets(passage):
                pairs.append(maker.whole(passage))
            elif time.monotonic() >= until:
                pairs.append(Pairs(()))
            else:
                passage, offsets = await self._tokenizers.encode_with_offsets(
                    model.tokenizer, _text(model, candidate), call
                )
                pairs.append(
                    maker.chunked(passage, offsets, len(candidate.title), len(candidate.text))
                )
        return maker, pairs

    def _failure(self, candidate: Candidate) -> FinesieveError | None:
        try:
            check_text("text", candidate.text, self._limits.max_passage_chars)
            if candidate.title:
                check_text("title", candidate.title, self._limits.max_passage_chars)
        except FinesieveError as error:
            return error
        return None


def _text(model: CrossEncoder, candidate: Candidate) -> str:
    return model.manifest.passage_prefix + full_text(candidate.title, candidate.text)


def _kept(candidate: Candidate, maker: PairMaker, model: CrossEncoder) -> TokenIds | None:
    """Return what was kept of a passage, where that is all the maker needs of it."""
    if candidate.tokens is None:
        return None
    passage = model.unpack(candidate.tokens)
    return None if maker.needs_whole(passage) else passage
