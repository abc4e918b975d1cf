"""Turn texts into what Milvus counts for lexical search: words as the embedded index has them.

Milvus is sent no text to analyze, whose words would be others, but our words' digests. Letters and
digits alone, they are tokens of the standard tokenizer as they stand; milvus-lite has no simpler.
"""

from base64 import b32encode
from collections import Counter
from collections.abc import Sequence

from finesieve_server.index.postings import TITLE_WEIGHT
from finesieve_server.index.words import terms_of, words_of

ANALYZER = {"tokenizer": "standard"}  # and no filter after it
MAX_WORDS_BYTES = 65_535  # Milvus's longest string

# Of 35 bits: what Milvus makes of a token has 32, so no more words meet than there anyway.
_DIGEST_CHARS = 7
_MAX_WORDS = (MAX_WORDS_BYTES + 1) // (_DIGEST_CHARS + 1)


def words_of_passage(title: str, text: str) -> str:
    """Return the digests of a passage's words, a space between.

    Where they are too many, those go that repeat others, then the last of the text.
    """
    counts = Counter(_digests(words_of(title)) * TITLE_WEIGHT + _digests(words_of(text)))
    repeated = (counts - Counter(dict.fromkeys(counts, 1))).elements()
    return " ".join([*counts, *repeated][:_MAX_WORDS])


def words_of_query(query: str) -> str:
    """Return the digests of a query's words, each once."""
    return " ".join(dict.fromkeys(_digests(words_of(query))))


def _digests(words: Sequence[str]) -> list[str]:
    terms = (int(term).to_bytes(8, "big") for term in terms_of(words))
    return [b32encode(term)[:_DIGEST_CHARS].decode().lower() for term in terms]
