"""Make the tokens that stored passages lack, and drop those that no model reads any more.

A collection lacks them where an older version wrote it, or a server with another cross-encoder.
Its searches tokenize meanwhile what they read: nobody waits for this.
"""

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from finesieve_server.errors import FinesieveError
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.search.call import Call
from finesieve_server.search.models import Models
from finesieve_server.search.passage_reader import PassageReader
from finesieve_server.search.texts import TokenizerPool, full_text

# After each step, this many times what it took belongs to the callers.
_REST = 4.0

_log = structlog.get_logger(__name__)


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
        for collection in self._catalog.page("", sys.maxsize):
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
