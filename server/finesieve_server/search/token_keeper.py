"""Make the tokens that stored passages lack, and drop those that no model reads any more.

A collection lacks them where an older version wrote it, or a server with another cross-encoder.
Its searches tokenize meanwhile what they read: nobody waits for this.
"""

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from finesieve_server.errors import FinesieveError
from finesieve_server.index.records import CollectionSpec, Untokenized
from finesieve_server.search.call import Call
from finesieve_server.search.models import Models
from finesieve_server.search.passage_reader import PassageReader
from finesieve_server.search.texts import TokenizerPool, full_text

# After each step, this many times what it took belongs to the callers.
_REST = 4.0

_log = structlog.get_logger(__name__)


class Collection(Protocol):
    """What keeps tokens beside its passages."""

    @property
    def spec(self) -> CollectionSpec:
        """What was fixed when the collection was created."""

    async def lacking_tokens(self, keys: Sequence[str], after: int | None) -> Untokenized:
        """Return the next passages, of a walk over all, that lack tokens under any of the keys.

        `after` is what the last step went through; None starts where an earlier walk ended.
        """

    async def keep_tokens(
        self, found: Untokenized, tokens: Mapping[str, Sequence[bytes | None]]
    ) -> None:
        """Keep tokens of passages that lacked them, and remember how far the walk has come."""

    async def drop_other_tokens(self, keys: Sequence[str], after: int) -> int | None:
        """Drop some of what is kept under other keys; return where to go on, None at the end."""


class Catalog(Protocol):
    """Collections that keep tokens; not every index does."""

    async def page(self, after: str, limit: int) -> Sequence[Collection]:
        """Return up to `limit` collections with names beyond `after`."""


class TokenKeeper:
    """Walks over every collection once, in small steps with rests between them."""

    def __init__(self, catalog: Catalog, models: Models, tokenizers: TokenizerPool) -> None:
        self._catalog = catalog
        self._tokenizers = tokenizers
        self._models = models.cross_encoders()

    @asynccontextmanager
    async def in_background(self) -> AsyncIterator[None]:
        """Walk while the block runs, and no longer."""
        walking = asyncio.create_task(self.walk())
        walking.add_done_callback(_tell_failure)
        try:
            yield
        finally:
            walking.cancel()
            await asyncio.wait([walking])

    async def walk(self) -> None:
        """Return once all collections are complete, but for those that cannot be."""
        if not self._models:
            return  # the tokens of models that may come back are left alone
        for collection in await self._catalog.page("", sys.maxsize):
            name = collection.spec.name
            try:
                made = await self._complete(collection)
                await self._drop_others(collection)
            except FinesieveError as error:
                # Deleted or damaged, or the disk is full: searches tokenize as they go.
                _log.warning("tokens not completed", collection=name, error=str(error))
                continue
            if made:
                _log.info("tokens completed", collection=name, passages=made)

    async def _complete(self, collection: Collection) -> int:
        """Return how many passages lacked tokens."""
        keys = sorted({model.tokens_key for model in self._models})
        made, after, is_last = 0, None, False
        while not is_last:
            began = time.monotonic()
            found = await collection.lacking_tokens(keys, after)
            texts = [full_text(title, text) for title, text in found.passages]
            reader = PassageReader(self._tokenizers, texts, Call(math.inf))
            tokens = await reader.pack(self._models, range(len(texts)))
            if texts or found.is_last:
                await collection.keep_tokens(found, tokens)
            made, after, is_last = made + len(texts), found.through, found.is_last
            await _rest(began)
        return made

    async def _drop_others(self, collection: Collection) -> None:
        keys = [model.tokens_key for model in self._models]
        after: int | None = 0
        while after is not None:
            began = time.monotonic()
            after = await collection.drop_other_tokens(keys, after)
            await _rest(began)


async def _rest(began: float) -> None:
    await asyncio.sleep(_REST * (time.monotonic() - began))


def _tell_failure(walking: asyncio.Task[None]) -> None:
    if not walking.cancelled() and (failure := walking.exception()) is not None:
        _log.error("keeping tokens failed", exc_info=failure)
