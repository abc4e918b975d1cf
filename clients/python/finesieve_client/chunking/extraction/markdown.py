"""Read Markdown, CommonMark with tables. The text stays as it is written; its blocks are found."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from finesieve_client.chunking.extraction.outline import Outline
from finesieve_client.chunking.source import Block, Source, library

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])?")
_MARKS = re.compile(r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}|<[^<>]*>")
_WHOLE = ("fence", "code_block", "table_open")


def read(text: str) -> Source:
    """Return a Markdown text with its blocks; its first heading of the first level is its title."""
    front = _FRONT_MATTER.match(text)
    begin = front.end() if front else 0
    titled = _FRONT_TITLE.search(front.group(1)) if front else None
    outline = Outline(titled.group(1) if titled else "")
    blocks = list(_blocks(text, begin, outline))
    return Source(text, tuple(blocks), outline.title)


def _blocks(text: str, begin: int, outline: Outline) -> Iterator[Block]:
    parser = library("markdown_it").MarkdownIt("commonmark").enable("table").disable("inline")
    tokens = parser.parse(text[begin:])
    starts = [begin + at for at in (0, *accumulate(map(len, text[begin:].splitlines(True))))]
    end = 0  # of the lines that are in a block
    for at, token in enumerate(tokens):
        if token.map is None or not _is_block(token):
            continue
        first, last = token.map
        if first > end:  # link definitions, mostly
            yield from _block(text, starts[end], starts[first], outline)
        if token.type == "heading_open":
            outline.enter(int(token.tag[1]), _plain(tokens, at))
        yield from _block(
            text,
            starts[max(first, end)],
            starts[last],
            outline,
            whole=token.type in _WHOLE,
            is_heading=token.type == "heading_open",
        )
        end = max(end, last)
    yield from _block(text, starts[min(end, len(starts) - 1)], len(text), outline)


def _is_block(token: Any) -> bool:
    """Tell whether a token is a block on its own: of lists their items, else the outermost."""
    if token.type in ("bullet_list_open", "ordered_list_open"):
        return False
    in_list: bool = token.type == "list_item_open" and token.level == 1
    return in_list or (token.nesting >= 0 and token.level == 0)


def _block(
    text: str,
    start: int,
    end: int,
    outline: Outline,
    *,
    whole: bool = False,
    is_heading: bool = False,
) -> Iterator[Block]:
    part = text[start:end]
    if part.strip():
        # The indentation of a first line of code is part of it.
        left = len(part) - len(part.lstrip("\n" if whole else None))
        stop = start + len(part.rstrip())
        yield Block(start + left, stop, outline.headings, whole, is_heading)


def _plain(tokens: Sequence[Any], at: int) -> str:
    """Return a heading as people read it."""
    return _MARKS.sub("", _LINK.sub(r"\1", tokens[at + 1].content)).strip()
