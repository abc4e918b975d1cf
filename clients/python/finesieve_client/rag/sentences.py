"""Find the sentences of a text, and its words: what answers are quoted and supported by.

Needs no library, and is not meant to be right about every abbreviation: a sentence that is cut
too early or too late is still a quotation. Ranges are half-open and count characters.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

MAX_CHARACTERS = 1_000

# A paragraph's end, a heading's or an item's beginning, a full stop with what closes behind it.
_END = re.compile(
    r"""
      \n\s*\n
    | \n(?=[ \t]*(?:[-*•#>|]|\d{1,3}[.)])[ \t])
    | (?<=[:;])\n
    | (?<![.!?…])[.!?…]++[)\]"'”’»*_`]*+(?=\s)
    | [。！？]++[」』”]*+
    """,
    re.VERBOSE,
)
_NO_END = re.compile(
    r"(?:^|[\s(\"“'])(?:(?:[A-Z]\.)*[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|Nos|Fig|Sec|Eq|Vol|Inc|Ltd|Co|Jr|Sr|vs|cf|"
    r"e\.g|i\.e|a\.k\.a|approx|ca|al|etc|TP|GS|PGS|TS|ThS|BS)\.$"
)
_WORD = re.compile(r"\w+")


def sentences(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Return the sentences of a part of a text, without the white space around them."""
    stop = len(text) if end is None else end
    return [piece for span in _between_ends(text, start, stop) for piece in _bounded(text, *span)]


def words(text: str) -> list[str]:
    """Return a text's words in lower case, in order."""
    return _WORD.findall(text.casefold())


def _between_ends(text: str, start: int, stop: int) -> Iterator[Span]:
    for found in _END.finditer(text, start, stop):
        if _is_end(text, start, found):
            yield start, found.end()
            start = found.end()
    yield start, stop


def _is_end(text: str, start: int, found: re.Match[str]) -> bool:
    if "\n" in found[0] or found[0][0] in "。！？":
        return True
    if text[found.end() : found.end() + 8].lstrip()[:1].islower():
        return False
    before = max(start, found.start() - 8)
    return found[0] != "." or not _NO_END.search(text, before, found.end())


def _bounded(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield a sentence, in parts where it is none for a reader any more, such as a table."""
    while True:
        start += len(text[start:end]) - len(text[start:end].lstrip())
        end = start + len(text[start:end].rstrip())
        if end - start <= MAX_CHARACTERS:
            break
        space = text.rfind(" ", start + MAX_CHARACTERS // 2, start + MAX_CHARACTERS)
        cut = start + MAX_CHARACTERS if space < 0 else space
        yield start, cut
        start = cut
    if start < end:
        yield start, end
