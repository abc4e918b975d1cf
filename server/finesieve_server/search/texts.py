"""Check texts before they cost anything, and tokenize them off the event loop."""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from numpy import int32
from numpy.typing import NDArray

from finesieve_server.errors import EmptyField, TooLong
from finesieve_server.runtime.tokenizer import TokenIds, Tokenizer
from finesieve_server.search.call import Call

# Texts tokenized in one go: a cancelled or late caller's thread is free again after this many.
_SLICE_CHARS = 32_768
# Less than this is not worth another thread, or another look at the clock: some 1.5 ms.
_LEAST_SHARE_CHARS = 4_096
# What is told of a text before it is tokenized: this share of what others of its length had, so
# that hardly ever more is expected than there is.
_CAUTION = 0.7
_REMEMBERED_CHARS = 1_000_000


def check_text(field: str, text: str, max_chars: int) -> None:
    """Raise EmptyField or TooLong, naming the field."""
    if not text or text.isspace():
        raise EmptyField(field)
    if len(text) > max_chars:
        raise TooLong(field, len(text), max_chars)


def full_text(title: str, text: str) -> str:
    """Return what a model reads of a passage: title, one space, text."""
    return f"{title} {text}" if title else text


class TokenizerPool:
    """A few threads that tokenize, so that long texts do not stop the event loop."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="tokenize")
        self._idle = threads  # less than none where callers wait
        self._densities: dict[str, _Density] = {}  # by the tokenizer's digest

    def forecast(self, tokenizer: Tokenizer, chars: int) -> int:
        """Return how many tokens a text has, probably a few less, judging by those that came."""
        density = self._densities.get(tokenizer.digest)
        return int(_CAUTION * density.tokens_per_char * chars) if density else 0

    async def encode(
        self, tokenizer: Tokenizer, texts: Sequence[str], call: Call, *, until: float = math.inf
    ) -> list[TokenIds]:
        """Return each text's ids, uncut and without special tokens.

        Past `until` (time.monotonic()) the rest of the texts is left out.
        """
        encoded: list[TokenIds] = []
        with call.times.measure("tokenize"):
            most_chars = _SLICE_CHARS if until == math.inf else _LEAST_SHARE_CHARS
            parts = slices(texts, min(self._share_chars(texts), most_chars))
            # A slice for each idle thread: the tokenizer leaves Python's lock, so that a lone
            # caller has every core.
            while now := list(islice(parts, max(1, self._idle))):
                for ids in await asyncio.gather(*(self._run(tokenizer, part) for part in now)):
                    encoded += ids
                if time.monotonic() >= until:
                    break
        return encoded

    def _share_chars(self, texts: Sequence[str]) -> int:
        """Return what each idle thread takes of the texts."""
        chars = [len(text) for text in texts]
        # With room for one text more than its part, a slice never leaves a rest behind.
        share = sum(chars) // max(1, self._idle) + max(chars, default=0)
        return max(_LEAST_SHARE_CHARS, share)

    async def _run(self, tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenIds]:
        loop = asyncio.get_running_loop()
        self._idle -= 1
        try:
            ids = await loop.run_in_executor(self._executor, tokenizer.encode, texts)
        finally:
            self._idle += 1
        density = self._densities.setdefault(tokenizer.digest, _Density())
        density.learn(sum(map(len, texts)), sum(map(len, ids)))
        return ids

    async def encode_with_offsets(
        self, tokenizer: Tokenizer, text: str, call: Call
    ) -> tuple[TokenIds, NDArray[int32]]:
        """Return the ids, and each token's half-open range of characters, (tokens, 2)."""
        with call.times.measure("tokenize"):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, tokenizer.encode_with_offsets, text)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)


class _Density:
    """Tokens per character of the last texts, the older the less."""

    def __init__(self) -> None:
        self._chars = self._tokens = 0

    @property
    def tokens_per_char(self) -> float:
        return self._tokens / max(1, self._chars)

    def learn(self, chars: int, tokens: int) -> None:
        self._chars += chars
        self._tokens += tokens
        if self._chars > _REMEMBERED_CHARS:
            self._chars //= 2
            self._tokens //= 2


def slices(texts: Sequence[str], most_chars: int = _SLICE_CHARS) -> Iterator[Sequence[str]]:
    """Yield the texts in runs of few characters; a text longer than that is a run of its own."""
    start = chars = 0
    for end, text in enumerate(texts):
        if chars and chars + len(text) > most_chars:
            yield texts[start:end]
            start, chars = end, 0
        chars += len(text)
    if start < len(texts):
        yield texts[start:]
