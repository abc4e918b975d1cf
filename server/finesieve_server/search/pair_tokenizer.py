"""Turn a query and its candidates into pairs: from kept tokens where there are, else tokenized now.

The answer is the same to the bit: what is kept is what would be made.
"""

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from finesieve_server.batching.batcher import Batcher
from finesieve_server.errors import FinesieveError, InvalidArgument
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import TokenIds
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.limits import Limits
from finesieve_server.search.pairs import LongPassage, PairMaker, Pairs, cut_query, tokens_around
from finesieve_server.search.texts import TokenizerPool, check_text, full_text


class PairTokenizer:
    """What stands between the reranker's candidates and the batcher's items."""

    def __init__(self, batcher: Batcher, tokenizers: TokenizerPool, limits: Limits) -> None:
        self._batcher = batcher
        self._tokenizers = tokenizers
        self._limits = limits

    async def pairs(
        self,
        model: CrossEncoder,
        query: str,
        candidates: Sequence[Candidate],
        options: RerankOptions,
        call: Call,
    ) -> tuple[list[Pairs], bool]:
        """Return the candidates' pairs, and whether the query was cut.

        There is no pair of a candidate that failed, or whose turn comes too late.
        A partial call tokenizes for half of its time at most. Raises Overloaded where the batcher
        would refuse the pairs, before they cost their tokenizing.
        """
        now = time.monotonic()
        until = now + (call.deadline - now) / 2 if options.partial else math.inf
        checked = [self._checked(model, each) for each in candidates]
        with self._room_for(model, query, candidates, checked, options, call):
            query_ids, query_truncated = await self._query(model, query, options, call)
            maker = PairMaker(
                model,
                query_ids,
                long_passage=options.long_passage,
                max_passage_tokens=options.max_passage_tokens,
                max_chunks=options.max_chunks,
            )
            passages = await self._passages(model, maker, candidates, checked, call, until)
            pairs: list[Pairs] = []
            for candidate, text, passage in zip(candidates, checked, passages, strict=True):
                if isinstance(text, FinesieveError):
                    pairs.append(Pairs((), failure=text))
                elif passage is None:
                    pairs.append(Pairs(()))
                elif not maker.needs_offsets(passage):
                    pairs.append(maker.whole(passage))
                elif time.monotonic() >= until:
                    pairs.append(Pairs(()))
                else:
                    ids, offsets = await self._tokenizers.encode_with_offsets(
                        model.tokenizer, text, call
                    )
                    pairs.append(
                        maker.chunked(ids, offsets, len(candidate.title), len(candidate.text))
                    )
            return pairs, query_truncated

    async def _query(
        self, model: CrossEncoder, query: str, options: RerankOptions, call: Call
    ) -> tuple[TokenIds, bool]:
        """Return what the model reads of the query, and whether it was cut.

        A query is cut, its instruction never: one that leaves too little is refused.
        """
        before, after = model.query_template.around(options.instruction)
        ids, offsets = await self._tokenizers.encode_with_offsets(
            model.tokenizer, before + query + after, call
        )
        around = tokens_around(offsets, len(before), len(before) + len(query))
        if options.instruction and sum(around) > model.frame_room:
            raise InvalidArgument(
                f"{options.path}.instruction",
                f"takes {sum(around)} tokens in the model's template; "
                f"at most {model.frame_room} leave room for a query",
            )
        return cut_query(ids, *around, model.query_room), len(ids) > model.query_room

    async def _passages(
        self,
        model: CrossEncoder,
        maker: PairMaker,
        candidates: Sequence[Candidate],
        checked: Sequence[str | FinesieveError],
        call: Call,
        until: float,
    ) -> list[TokenIds | None]:
        """Return each candidate's ids; None for one that failed, or whose turn came too late."""
        passages = [_kept(each, maker, model) for each in candidates]
        missing = {
            position: text
            for position, text in enumerate(checked)
            if passages[position] is None and isinstance(text, str)
        }
        encoded = await self._tokenizers.encode(
            model.tokenizer, list(missing.values()), call, until=until
        )
        for position, ids in zip(missing, encoded, strict=False):  # some came too late
            passages[position] = ids
        return passages

    def _room_for(
        self,
        model: CrossEncoder,
        query: str,
        candidates: Sequence[Candidate],
        checked: Sequence[str | FinesieveError],
        options: RerankOptions,
        call: Call,
    ) -> AbstractContextManager[None]:
        """Refuse what the batcher would refuse, before it costs its tokenizing."""
        kept = all(each.tokens is not None for each in candidates)
        if kept and options.long_passage is LongPassage.TRUNCATE:
            return nullcontext()  # it costs nothing
        tokenizer = model.tokenizer
        before, after = model.query_template.around(options.instruction)
        query_chars = len(before) + len(query) + len(after)
        around = tokenizer.pair.num_special + min(
            self._tokenizers.forecast(tokenizer, query_chars), model.query_room
        )
        lengths = [
            min(model.max_tokens, around + self._tokenizers.forecast(tokenizer, len(text)))
            for text in checked
            if isinstance(text, str)
        ]
        return self._batcher.room_for(
            model.name, lengths, call.deadline, options.priority, options.partial, call.tenant
        )

    def _checked(self, model: CrossEncoder, candidate: Candidate) -> str | FinesieveError:
        """Return what the model would read of a passage, or why it may not."""
        try:
            check_text("text", candidate.text, self._limits.max_passage_chars)
            if candidate.title:
                check_text("title", candidate.title, self._limits.max_passage_chars)
        except FinesieveError as error:
            return error
        return model.manifest.passage_prefix + full_text(candidate.title, candidate.text)


def _kept(candidate: Candidate, maker: PairMaker, model: CrossEncoder) -> TokenIds | None:
    """Return what was kept of a passage, where that is all the maker needs of it."""
    if candidate.tokens is None:
        return None
    passage = model.unpack(candidate.tokens)
    return None if maker.needs_whole(passage) else passage
