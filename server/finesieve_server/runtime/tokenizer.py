"""Turn text into token ids, and ids into what a model reads. Knows no model and no batch.

Texts become ids without special tokens; `Template` frames them as the tokenizer itself would, so
that ids kept with a passage can be framed with any query later.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import Tokenizer as TokenizerCore

from finesieve_server.runtime.artifact import BadArtifact, file_sha256

TokenIds = NDArray[np.int32]

# Callers' threads run side by side already: a pool inside each would fight the model for cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@dataclass(frozen=True, slots=True)
class Framed:
    """What a model reads of one text or one pair, special tokens included.

    Tokens from `second_start` on carry segment id 1, those before it 0.
    """

    ids: TokenIds
    second_start: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Template:
    """The special tokens around one text, or around and between the two of a pair."""

    prefix: TokenIds
    middle: TokenIds
    suffix: TokenIds
    # Of the middle tokens, those that already belong to the second segment.
    middle_in_second: int

    def frame(self, first: TokenIds, second: TokenIds | None = None) -> Framed:
        parts = (first,) if second is None else (first, self.middle, second)
        ids = np.concatenate((self.prefix, *parts, self.suffix))
        before_second = len(self.prefix) + len(first) + len(self.middle) - self.middle_in_second
        return Framed(ids, len(ids) if second is None else before_second)

    @property
    def num_special(self) -> int:
        return len(self.prefix) + len(self.middle) + len(self.suffix)


class Tokenizer:
    """A tokenizer.json, with special tokens in a text read as plain text.

    Raises BadArtifact where the file cannot be read as one.
    """

    def __init__(self, path: Path) -> None:
        # Two with one digest give a text the same ids.
        self.digest = f"{file_sha256(path)} tokenizers {tokenizers.__version__}"
        try:
            self._core = TokenizerCore.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise BadArtifact(path.parent, f"{path.name} cannot be read: {error}") from error
        self._core.no_truncation()
        self._core.no_padding()
        try:
            self.single = self._learn_template(pair=False)
            self.pair = self._learn_template(pair=True)
        except ValueError as error:
            raise BadArtifact(path.parent, f"{path.name}: {error}") from error
        self._core.encode_special_tokens = True
        self._special_ids = np.array(
            [
                token_id
                for token_id, token in self._core.get_added_tokens_decoder().items()
                if token.special
            ],
            np.int32,
        )
        self._plain_id = self._id_of("[UNK]", "<unk>", "<|unk|>")
        self.pad_id = self._id_of("[PAD]", "<pad>", "<|padding|>")
        largest = max(self._core.get_vocab().values(), default=0)
        self._packed = np.dtype("<u2" if largest < 2**16 else "<u4")

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return each text's ids, without special tokens and uncut.

        Holds the calling thread for some 0.2 to 1.3 s a million characters: cap texts before, and
        call it off the event loop.
        """
        encodings = self._core.encode_batch_fast(list(texts), add_special_tokens=False)
        lists = [encoding.ids for encoding in encodings]
        # In one go: text by text it cost more than all else that holds Python's lock.
        plain = self._plain(list(chain.from_iterable(lists)))
        ends = accumulate(map(len, lists))
        return [plain[end - len(ids) : end] for ids, end in zip(lists, ends, strict=True)]

    def encode_with_offsets(self, text: str) -> tuple[TokenIds, NDArray[np.int32]]:
        """Return the ids and, of each token, its half-open range of code points, (tokens, 2)."""
        [encoding] = self._core.encode_batch([text], add_special_tokens=False)
        offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        return self._plain(encoding.ids), offsets

    def pack(self, ids: TokenIds) -> bytes:
        """Return ids of this vocabulary as few bytes, two or four each."""
        return ids.astype(self._packed).tobytes()

    def unpack(self, packed: bytes) -> TokenIds:
        """Return the ids that were packed."""
        return np.frombuffer(packed, self._packed).astype(np.int32)

    def _plain(self, ids: list[int]) -> TokenIds:
        """Some vocabularies spell out their own special tokens; a text must not forge one."""
        plain = np.array(ids, np.int32)
        forged = np.isin(plain, self._special_ids)
        if forged.any():
            plain[forged] = self._plain_id
        return plain

    def _learn_template(self, *, pair: bool) -> Template:
        """Frame two known words and see what the tokenizer puts around them."""
        words = ("first", "second") if pair else ("first",)
        bare = [self._core.encode(word, add_special_tokens=False).ids for word in words]
        framed = self._core.encode(*words)
        first_start = _find(framed.ids, bare[0], 0)
        first_end = first_start + len(bare[0])
        if not pair:
            middle, middle_in_second, end = [], 0, first_end
        else:
            second_start = _find(framed.ids, bare[1], first_end)
            middle = framed.ids[first_end:second_start]
            middle_in_second = sum(framed.type_ids[first_end:second_start])
            end = second_start + len(bare[1])
        return Template(
            prefix=np.array(framed.ids[:first_start], np.int32),
            middle=np.array(middle, np.int32),
            suffix=np.array(framed.ids[end:], np.int32),
            middle_in_second=middle_in_second,
        )

    def _id_of(self, *tokens: str) -> int:
        """Return the id of the first of these that the vocabulary has, or 0."""
        ids = (self._core.token_to_id(token) for token in tokens)
        return next((int(found) for found in ids if found is not None), 0)


def _find(ids: list[int], part: list[int], start: int) -> int:
    for at in range(start, len(ids) - len(part) + 1):
        if ids[at : at + len(part)] == part:
            return at
    raise ValueError("the tokenizer's own framing does not hold the framed text")
