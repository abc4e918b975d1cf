"""Count tokens as the model of a collection does, by asking its server from another thread."""

import asyncio
from collections.abc import Iterator, Sequence

from finesieve.v1.embedding_pb2 import CountTokensResponse
from finesieve_client.async_client import AsyncClient
from finesieve_client.patience import Patience

_MOST_TEXTS = 1_000  # of one call
_MOST_CHARACTERS = 500_000  # four bytes each at most


class TokenCounter:
    """A chunker's `count_tokens`. Made in the event loop of its client, called outside of it."""

    def __init__(self, client: AsyncClient, model: str, patience: Patience) -> None:
        self._client = client
        self._model = model
        self._patience = patience
        self._loop = asyncio.get_running_loop()

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text; raises FinesieveError."""
        return asyncio.run_coroutine_threadsafe(self._count(texts), self._loop).result()

    async def ask(self, texts: Sequence[str]) -> CountTokensResponse:
        """Make one call."""
        return await self._patience.call(
            lambda: self._client.count_tokens(texts, model=self._model)
        )

    async def _count(self, texts: Sequence[str]) -> list[int]:
        return [count for part in parts(texts) for count in (await self.ask(part)).tokens]


def parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in as many runs as calls are needed to count them."""
    start = characters = 0
    for at, text in enumerate(texts):
        if at > start and (at - start == _MOST_TEXTS or characters + len(text) > _MOST_CHARACTERS):
            yield texts[start:at]
            start, characters = at, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]
