"""Embed texts with a bi-encoder, under the device's one queue."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import Priority
from finesieve_server.batching.work import Work
from finesieve_server.errors import ModelFailure
from finesieve_server.runtime.encoder import BiEncoder
from finesieve_server.runtime.tokenizer import TokenIds
from finesieve_server.search.call import Call
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.passage_reader import PassageReader
from finesieve_server.search.texts import TokenizerPool, check_text


class Role(Enum):
    """Chooses the prefix that the model was trained with."""

    QUERY = 1
    PASSAGE = 2


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector a text, (texts, dimension), in order."""

    vectors: NDArray[np.float32]
    model: str
    tokens: int
    truncated: list[int]  # positions of texts cut at the model's window


@dataclass(frozen=True, slots=True)
class Counted:
    """How many tokens each text is, in order; with those that the model adds, of its window."""

    tokens: list[int]
    added: int
    window: int
    model: str


class Embedder:
    """Turns texts into vectors, for callers and for both ends of retrieval."""

    def __init__(
        self, models: Models, batcher: Batcher, tokenizers: TokenizerPool, limits: Limits
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._tokenizers = tokenizers
        self._limits = limits

    async def embed(
        self, texts: Sequence[str], role: Role, call: Call, *, model: str = ""
    ) -> Embedded:
        """Return a vector for every text of a caller, who names the model ("": the default).

        Raises EmptyField or TooLong naming texts[i], what Models raises, and what `encode` raises.
        """
        encoder = self._models.bi_encoder(model)
        self._check(texts)
        return await self.encode(encoder, texts, role, Priority.INTERACTIVE, call)

    async def count(
        self, texts: Sequence[str], role: Role, call: Call, *, model: str = ""
    ) -> Counted:
        """Return how much of a model's window a caller's texts take; nothing is cut or queued.

        Raises EmptyField or TooLong naming texts[i], and what Models raises.
        """
        encoder = self._models.bi_encoder(model)
        self._check(texts)
        prefix = _prefix(encoder, role)
        added, *encoded = await self._tokenizers.encode(encoder.tokenizer, [prefix, *texts], call)
        return Counted(
            [len(ids) for ids in encoded],
            added=len(added) + encoder.tokenizer.single.num_special,
            window=encoder.max_tokens,
            model=encoder.name,
        )

    async def encode(
        self, model: BiEncoder, texts: Sequence[str], role: Role, priority: Priority, call: Call
    ) -> Embedded:
        """Return a vector for every text; the texts are checked already.

        Raises what the batcher raises, and ModelFailure naming the text that the model failed on.
        """
        with call.times.measure("embed"):
            prefix = _prefix(model, role)
            chars = [len(prefix) + len(text) for text in texts]
            with self._room_for(model, chars, priority, call):
                encoded = await self._tokenizers.encode(
                    model.tokenizer, [prefix + text for text in texts], call
                )
            return await self._embed(model, encoded, priority, call)

    async def encode_passages(
        self, model: BiEncoder, reader: PassageReader, positions: Sequence[int], call: Call
    ) -> Embedded:
        """Return a vector for the passages at these positions, as bulk work.

        Raises what `encode` raises.
        """
        with call.times.measure("embed"):
            with self._room_for(model, reader.chars(model, positions), Priority.BULK, call):
                encoded = await reader.read(model, positions)
            return await self._embed(model, encoded, Priority.BULK, call)

    def _check(self, texts: Sequence[str]) -> None:
        for position, text in enumerate(texts):
            check_text(f"texts[{position}]", text, self._limits.max_passage_chars)

    def _room_for(
        self, model: BiEncoder, chars: Sequence[int], priority: Priority, call: Call
    ) -> AbstractContextManager[None]:
        """Refuse what the batcher would refuse, before it costs its tokenizing."""
        special = model.tokenizer.single.num_special
        lengths = [
            min(model.max_tokens, special + self._tokenizers.forecast(model.tokenizer, each))
            for each in chars
        ]
        return self._batcher.room_for(
            model.name, lengths, call.deadline, priority, tenant=call.tenant
        )

    async def _embed(
        self, model: BiEncoder, encoded: Sequence[TokenIds], priority: Priority, call: Call
    ) -> Embedded:
        framed = [model.frame(ids) for ids in encoded]
        done = await self._batcher.run(
            Work(model.name, framed, call.deadline, priority, tenant=call.tenant)
        )
        call.times.add("queue", done.queue_s)
        vectors = np.empty((len(encoded), model.manifest.dimension), np.float32)
        for position, row in enumerate(done.rows):
            if not isinstance(row, np.ndarray):
                raise ModelFailure(f"text {position} could not be embedded: {row}")
            vectors[position] = row
        return Embedded(
            vectors,
            model.name,
            tokens=sum(map(len, framed)),
            truncated=[at for at, ids in enumerate(encoded) if len(ids) > model.room],
        )


def _prefix(model: BiEncoder, role: Role) -> str:
    manifest = model.manifest
    return manifest.query_prefix if role is Role.QUERY else manifest.passage_prefix
