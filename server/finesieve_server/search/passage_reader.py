"""Tokenize a batch of passages for several models, each text by each tokenizer once."""

from collections.abc import Iterable, Sequence

from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from finesieve_server.runtime.tokenizer import TokenIds
from finesieve_server.search.call import Call
from finesieve_server.search.texts import TokenizerPool


class PassageReader:
    """Some texts of one call."""

    def __init__(self, tokenizers: TokenizerPool, texts: Sequence[str], call: Call) -> None:
        self._tokenizers = tokenizers
        self._texts = texts
        self._call = call
        self._encoded: dict[tuple[str, str], dict[int, TokenIds]] = {}

    def chars(self, model: BiEncoder | CrossEncoder, positions: Sequence[int]) -> list[int]:
        """Return how many characters the model would read at these positions."""
        prefix = len(model.manifest.passage_prefix)
        return [prefix + len(self._texts[position]) for position in positions]

    async def read(
        self, model: BiEncoder | CrossEncoder, positions: Sequence[int]
    ) -> list[TokenIds]:
        """Return the ids of the texts at these positions, with the model's prefix, uncut."""
        prefix = model.manifest.passage_prefix
        encoded = self._encoded.setdefault((model.tokenizer.digest, prefix), {})
        new = [position for position in positions if position not in encoded]
        ids = await self._tokenizers.encode(
            model.tokenizer, [prefix + self._texts[position] for position in new], self._call
        )
        encoded.update(zip(new, ids, strict=True))
        return [encoded[position] for position in positions]

    async def pack(
        self, models: Iterable[CrossEncoder], positions: Sequence[int]
    ) -> dict[str, list[bytes | None]]:
        """Return what is kept of every text for these models, by key; None at other positions."""
        packed: dict[str, list[bytes | None]] = {}
        for model in models:
            if model.tokens_key in packed:
                continue
            kept: list[bytes | None] = [None] * len(self._texts)
            for position, ids in zip(positions, await self.read(model, positions), strict=True):
                kept[position] = model.pack(ids)
            packed[model.tokens_key] = kept
        return packed
