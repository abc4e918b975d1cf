"""Read which passages an answer cites, and let it cite none that was not given.

A citation is a passage's number in brackets, such as [1] or [1, 2]; blanks there are ASCII's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finesieve.v1.search_pb2 import SearchHit
from finesieve_client.rag.quotes import Quotes
from finesieve_client.rag.sentences import Span, sentences
from finesieve_client.rag.sources import Quote, Source

MAX_DIGITS = 4
_MAX_MARKER = 100  # characters, brackets included
_MAX_BLANKS = 20  # before a marker; they go with it
_MAX_TICKS = 20  # that are read as one
_MAX_CODE = 200  # characters between backticks in a line
# Stands for a marker taken out, where what is left would join to another one, or to other code.
_TAKEN_OUT = "…"

_NUMBERS = r"\s*+[0-9]++(?:\s*+,\s*+[0-9]++)*+\s*+"
_MARKER = re.compile(rf"\[({_NUMBERS})\]", re.ASCII)
# In an answer: runs of backticks, and markers with the blanks before them.
_TOKEN = re.compile(
    rf"(?P<ticks>`{{1,{_MAX_TICKS}}}+)|(?P<blanks>[ \t]{{0,{_MAX_BLANKS}}}+)"
    rf"\[(?=[^\]]{{1,{_MAX_MARKER - 2}}}\])(?P<numbers>{_NUMBERS})\]",
    re.ASCII,
)
_OPEN = rf"\[[\s0-9,]{{0,{_MAX_MARKER - 2}}}"
_OPEN_AT_END = re.compile(rf"{_OPEN}\Z", re.ASCII)
# The end of a text that the next piece may make a marker of.
_BEGUN = re.compile(rf"[ \t]{{0,{_MAX_BLANKS}}}+(?:{_OPEN})?\Z", re.ASCII)
_FENCE = "```"
_AT_BEGINNING = re.compile(r"(?:\A|\n)[ \t>*+-]*\Z")  # of a line, or of a quoted or listed one
# Also those that are too long to be read as a marker.
_BRACKETED = re.compile(r"\[([\s0-9,]+)\]")
_BRACKETED_AFTER_BLANKS = re.compile(rf"(?<![ \t])[ \t]*+{_BRACKETED.pattern}")


@dataclass(frozen=True, slots=True)
class Mark:
    """A citation where it stands in an answer: a passage's number, and the marker's place."""

    number: int
    span: Span


@dataclass(frozen=True, slots=True)
class Citation:
    """What a statement of an answer rests on.

    `span` is the part of the passage's text that supports it best, and `quote` its words;
    `statement` is the part of the answer's text that cites it. Ranges are half-open and count
    characters. The passage may stand in the window around the source with this number.
    """

    number: int
    passage_id: str
    title: str
    document_id: str
    span: Span
    quote: str
    statement: Span


def cited(answer: str, hits: Sequence[SearchHit]) -> list[str]:
    """Return the ids of the passages that an answer cites, each once, by their first citation."""
    numbers = [number for found in _MARKER.finditer(answer) for number in _numbers(found[1])]
    given = [number for number in numbers if 1 <= number <= len(hits)]
    return [hits[number - 1].hit.passage.id for number in dict.fromkeys(given)]


def without_markers(text: str) -> str:
    """Return a text without passages' numbers; what that would join to one is in parentheses."""
    return in_parentheses(_BRACKETED_AFTER_BLANKS.sub("", text))


def in_parentheses(text: str) -> str:
    """Return a text whose bracketed numbers are no citations."""
    return _BRACKETED.sub(r"(\1)", text)


class CitationReader:
    """Takes an answer piece by piece, and returns it without citations of what was not given.

    Brackets in code are none: between backticks in a line, or lines between fences. `marks`
    has the citations so far, with their places in the text returned.
    """

    def __init__(self, num_passages: int) -> None:
        self.marks: list[Mark] = []
        self._num_passages = num_passages
        self._waiting = ""  # may yet become a marker
        self._length = 0  # of the text returned
        self._last = ""  # characters of it, as many as a marker may have
        self._is_joint = False  # a marker was taken out at its end
        self._fence = ""  # the backticks that lines of code began with

    def take(self, piece: str) -> str:
        """Return what of the answer is settled by one more piece of it."""
        text = self._waiting + piece
        settled = _settled(text)
        written, read = self._read(text[:settled], is_last=False)
        self._waiting = text[read:]
        return written

    def end(self) -> str:
        """Return the rest of the answer."""
        rest, self._waiting = self._waiting, ""
        return self._read(rest, is_last=True)[0]

    def _read(self, text: str, is_last: bool) -> tuple[str, int]:
        """Return what of a text is to be written, and how much of it is settled so."""
        written: list[str] = []
        at = 0
        while token := _TOKEN.search(text, at):
            self._write(written, text[at : token.start()])
            at = token.start()
            if token["ticks"]:
                end = self._end_of_code(text, token, is_last)
                if end is None:
                    return "".join(written), at
                self._write(written, text[at:end])
                at = end
                continue
            if self._fence:
                self._write(written, token[0])
            else:
                self._write_marker(written, token)
            at = token.end()
        self._write(written, text[at:])
        return "".join(written), len(text)

    def _write(self, written: list[str], text: str) -> None:
        if not text:
            return
        if self._is_joint and self._last.endswith("`") and text.startswith("`"):
            text = _TAKEN_OUT + text
        self._is_joint = False
        written.append(text)
        self._length += len(text)
        self._last = (self._last + text[-_MAX_MARKER:])[-_MAX_MARKER:]

    def _write_marker(self, written: list[str], token: re.Match[str]) -> None:
        numbers = _numbers(token["numbers"])
        given = [number for number in numbers if 1 <= number <= self._num_passages]
        line_end = "\n" if "\n" in token["numbers"] else ""  # code in a line ends with its line
        if not given:
            if _OPEN_AT_END.search(self._last):
                self._write(written, _TAKEN_OUT)
            self._is_joint = True
            self._write(written, line_end)
            return
        self._write(written, token["blanks"])
        start = self._length
        self._write(written, f"[{', '.join(map(str, given))}]")
        self.marks += [Mark(number, (start, self._length)) for number in dict.fromkeys(given)]
        self._write(written, line_end)

    def _end_of_code(self, text: str, token: re.Match[str], is_last: bool) -> int | None:
        """Return where code in a line that backticks may begin ends, which may be at once.

        Notes where lines of code begin and end. None: it takes more text to tell.
        """
        ticks, start = token["ticks"], token.end()
        begins_line = _AT_BEGINNING.search(self._last) is not None
        if self._fence:
            if begins_line and len(ticks) >= len(self._fence):
                self._fence = ""
            return start
        most = start + _MAX_CODE + len(ticks) + 1
        line_end = text.find("\n", start, most)
        stop = line_end if line_end >= 0 else min(most, len(text))
        is_whole = is_last or line_end >= 0 or stop == most
        closing = re.compile(rf"(?<!`){ticks}(?!`)").search(text, start, stop)
        if closing and closing.start() <= start + _MAX_CODE and (is_whole or closing.end() < stop):
            return closing.end()
        if not is_whole:
            return None
        if begins_line and ticks.startswith(_FENCE):
            self._fence = ticks
        return start


def citations_of(answer: str, marks: Sequence[Mark], sources: Sequence[Source]) -> list[Citation]:
    """Return what each citation of an answer rests on, in the order they stand in it."""
    quotes = Quotes(sources)
    numbered = {source.number: source for source in sources}
    found: dict[tuple[int, str], Quote] = {}
    citations = []
    for mark, statement in _statements(answer, marks):
        said = answer[slice(*statement)]
        if (mark.number, said) not in found:
            found[mark.number, said] = quotes.support(said, numbered[mark.number])
        citations.append(citation_of(mark.number, found[mark.number, said], statement))
    return citations


def citation_of(number: int, quote: Quote, statement: Span) -> Citation:
    """Return the citation of a quotation."""
    return Citation(
        number=number,
        passage_id=quote.passage.id,
        title=quote.passage.title,
        document_id=quote.passage.document_id,
        span=quote.span,
        quote=quote.text,
        statement=statement,
    )


def _statements(answer: str, marks: Sequence[Mark]) -> Iterator[tuple[Mark, Span]]:
    """Yield each mark with the statement it supports: the sentence up to it, else after it.

    Marks with nothing between them support the same statement.
    """
    before = 0
    statement: Span = (0, 0)
    for mark in marks:
        start, end = mark.span
        if answer[before:start].strip() or before == 0:
            found = sentences(answer, before, start)[-1:] or sentences(answer, end)[:1]
            statement = _without_joint(answer, found[0]) if found else (start, start)
        before = end
        yield mark, statement


def _without_joint(answer: str, statement: Span) -> Span:
    """Return a statement without what joins it to the one before."""
    start, end = statement
    return end - len(answer[start:end].lstrip(" ,;:.–—")), end


def _settled(text: str) -> int:
    """Return how much of a text no further piece can turn into a marker or into code."""
    ticks = len(text) - len(text.rstrip("`"))
    if ticks:
        return len(text) - ticks % _MAX_TICKS
    begun = _BEGUN.search(text, max(0, len(text) - _MAX_BLANKS - _MAX_MARKER))
    assert begun is not None  # it may be empty
    return begun.start()


def _numbers(listed: str) -> list[int]:
    """Return the numbers of a marker; those that are too long to be a passage's are left out."""
    each = (number.strip() for number in listed.split(","))
    return [int(number) for number in each if len(number) <= MAX_DIGITS]
