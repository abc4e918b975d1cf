"""Find where a text can be cut: after sentences, and inside one that is too long itself.

Every function returns half-open ranges of characters that lie in order and cover all but the white
space between them.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from finesieve_client.chunking.source import library

Span = tuple[int, int]

_ISO_639_1 = """
aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv
dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie
ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv
mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm
rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts
tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
LANGUAGES = frozenset(_ISO_639_1.split())

# What sentencex does not know: Vietnamese titles and places.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:TP|Tp|GS|PGS|TS|ThS|BS|KS|CN|NSND|NSƯT|Q|P|TX|TT|tr|Mr|Mrs|vs|approx)\.\s*$"
)
_CLOSING = re.compile(r"[*_`)\]\"'”’»]+(?=\s|$)")
_LINE = re.compile(r"[^\n]+")
_CLAUSE = re.compile(r".+?(?:[,;:—–](?=\s)|[，；：、]|\Z)", re.DOTALL)
_WORD = re.compile(r"\S+")
_WINDOW = 4_096  # characters
_RUN_CHARACTERS = 16
_MAX_GRAPHEME = 64  # characters; Unicode's stream-safe text has at most 31


def sentences(text: str, start: int, end: int, language: str = "en") -> list[Span]:
    """Return the sentences of a part of a text.

    `language` (ISO 639-1) chooses the abbreviations; whatever it is, the full stops of all scripts
    count.
    """
    found: list[Span] = []
    for sentence in _segmented(text, start, end, language):
        sentence_end = start + len(sentence)
        if found and (closing := _CLOSING.match(text, start, end)) and start == found[-1][1]:
            start = closing.end()  # what the sentence before was marked or quoted with
            found[-1] = (found[-1][0], start)
        if (stripped := _stripped(text, start, max(start, sentence_end))) is not None:
            if found and _goes_on(text, found[-1], stripped):
                stripped = (found.pop()[0], stripped[1])
            found.append(stripped)
        start = max(start, sentence_end)
    return found


def _segmented(text: str, start: int, end: int, language: str) -> Iterator[str]:
    """Yield the library's sentences, found in windows: its time grows as a window's square."""
    segment = library("sentencex").segment
    window = _WINDOW
    while start < end:
        stop = min(end, start + window)
        found = segment(language, text[start:stop])
        if stop < end:
            found = found[:-1]  # it may go on in the next window
        yield from found
        start += sum(map(len, found))
        window = _WINDOW if found else 2 * window


def finer(text: str, span: Span) -> list[Span]:
    """Return a span's parts at the next place where it can be cut.

    Between lines, else after clauses, else between words, else between characters as a reader
    counts them. One part: it cannot be cut further.
    """
    parts: list[Span] = [span]
    for cut in _LADDER:
        parts = cut(text, span)
        if len(parts) > 1:
            break
    return parts


def _stripped(text: str, start: int, end: int) -> Span | None:
    """Return a span without the white space around it; None if that is all."""
    part = text[start:end]
    left = len(part) - len(part.lstrip())
    return None if left == len(part) else (start + left, start + len(part.rstrip()))


def _goes_on(text: str, before: Span, after: Span) -> bool:
    """Tell whether what looks like two sentences is one, cut after an abbreviation."""
    if "\n" in text[before[1] : after[0]]:
        return False
    begins_small = text[after[0]].islower() and text[before[1] - 1] == "."
    return begins_small or _ABBREVIATION.search(text[max(0, before[1] - 8) : before[1]]) is not None


def _matches(pattern: re.Pattern[str]) -> Callable[[str, Span], list[Span]]:
    def cut(text: str, span: Span) -> list[Span]:
        found = (_stripped(text, *each.span()) for each in pattern.finditer(text, *span))
        return [each for each in found if each is not None]

    return cut


def _runs(text: str, span: Span) -> list[Span]:
    """Cut a word into runs of a few characters each."""
    start, end = span
    if text[start:end].isascii():
        steps = range(start, end, _RUN_CHARACTERS)
        return [(at, min(end, at + _RUN_CHARACTERS)) for at in steps]
    runs: list[Span] = []
    for start, end in _graphemes(text, span):
        if runs and end - runs[-1][0] <= _RUN_CHARACTERS:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _graphemes(text: str, span: Span) -> list[Span]:
    found: Iterable[re.Match[str]] = library("regex").compile(r"\X").finditer(text, *span)
    return [part for each in found for part in _bounded(each.start(), each.end())]


def _bounded(start: int, end: int) -> Iterator[Span]:
    """Cut what marks upon marks make longer than any real character."""
    for at in range(start, end, _MAX_GRAPHEME):
        yield at, min(end, at + _MAX_GRAPHEME)


_LADDER = (_matches(_LINE), _matches(_CLAUSE), _matches(_WORD), _runs, _graphemes)
