"""Turn texts into the words by which lexical search compares them. Pure.

Upper and lower case, and the ways of writing one character, are the same; accents and tones are
not. English endings are cut ("retrieving" is "retriev"), which leaves other languages nearly
alone. Scripts that put no spaces between words (Chinese, Japanese, Korean's particles, Thai, ...)
give every character and every pair of neighbours; an emoji is a word. All else separates.
"""

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from operator import add

import numpy as np
import Stemmer
from numpy.typing import NDArray

Terms = NDArray[np.uint64]  # a word's digest, by which it is found

# Signs that belong to the letter before them: vowels of Indian scripts, rare accents.
_MARKED_BLOCKS = ((0x300, 0x2000), (0x20D0, 0x2100), (0x3099, 0x309B), (0xA600, 0xAC00))
_MARKS = "".join(
    chr(point)
    for block in _MARKED_BLOCKS
    for point in range(*block)
    if unicodedata.category(chr(point)) in ("Mn", "Mc")
)
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005\u3041-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uac00-\ud7a3"  # Hangul
)
_ASCII_WORD = re.compile("[a-z0-9]+")
_UNSPACED = re.compile(f"[{_NO_SPACES}][{_NO_SPACES}{_MARKS}]*")
_WORD = re.compile(rf"[\w{_MARKS}]+|[\u2600-\u27bf\U0001f300-\U0001faff]")  # or an emoji
_CHARACTER = re.compile(rf"\w[{_MARKS}]*")


def words_of(text: str) -> list[str]:
    """Return the words of a text in their order, with their endings."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    plain = unicodedata.normalize("NFKC", text).casefold().replace("_", " ")
    apart, runs = _UNSPACED.subn(r" \g<0> ", plain)
    words = _WORD.findall(apart)
    return [part for word in words for part in _parts(word)] if runs else words


def _parts(word: str) -> list[str]:
    if not _UNSPACED.match(word):
        return [word]
    characters = _CHARACTER.findall(word)
    pairs = map(add, characters, characters[1:])
    return [*characters[:1], *chain.from_iterable(zip(pairs, characters[1:], strict=True))]


def terms_of(words: Sequence[str]) -> Terms:
    """Return what each word is found by: equal for words that differ in an English ending.

    Sixty-four bits: of a million words, no two meet by chance in all but one of 10^7 collections.
    """
    # Porter's own rules never change, as what is stored requires. Threads must not share one.
    stems = Stemmer.Stemmer("porter", 0).stemWords(words)
    digests = [blake2b(stem.encode(), digest_size=8).digest() for stem in stems]
    return np.frombuffer(b"".join(digests), "<u8")
