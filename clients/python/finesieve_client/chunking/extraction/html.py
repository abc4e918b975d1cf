"""Read HTML: the main text with its headings, lists, tables and code; no menus and no scripts."""

import re
from collections.abc import Iterator
from typing import Any

from finesieve_client.chunking.extraction.outline import Outline
from finesieve_client.chunking.source import Block, Source, UnreadableFile, library

MAX_NESTING = 4_000  # the parser takes time as the square of it; browsers stop at 512

_DROPPED = (
    *("script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas"),
    *("video", "audio", "nav", "aside", "footer", "button", "select", "input", "textarea"),
    *("dialog", "[hidden]", "[aria-hidden=true]"),
)
_INLINE = frozenset(
    {
        *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em"),
        *("font", "i", "img", "ins", "kbd", "label", "mark", "q", "rp", "rt", "ruby", "s"),
        *("samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var"),
        "wbr",
    }
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_CELLS = frozenset(("td", "th"))
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)[^>]*?(/?)>")
# These need no end tag, or have none, and nest no deeper for it.
_OPEN_ENDED = frozenset(
    {
        *("p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option"),
        *("optgroup", "colgroup", "br", "hr", "img", "input", "meta", "link", "col", "area"),
        *("base", "embed", "source", "track", "wbr", "html", "head", "body"),
    }
)


def read(text: str) -> Source:
    """Return the text of a page with its blocks; raises UnreadableFile for one of no real page."""
    _check_nesting(text)
    tree = library("selectolax.lexbor").LexborHTMLParser(text)
    title = tree.css_first("head title")
    outline = Outline(" ".join(title.text().split()) if title is not None else "")
    for element in tree.css(", ".join(_DROPPED)):
        element.decompose()
    root = _main(tree)
    if root is None:
        raise UnreadableFile("has no text")
    writer = _Writer(outline)
    for node, entering in _walk(root):
        writer.take(node, entering)
    writer.end_block()
    return Source(writer.text, tuple(writer.blocks), outline.title)


def _check_nesting(text: str) -> None:
    depth = 0
    for tag in _TAG.finditer(text):
        if tag.group(2).lower() not in _OPEN_ENDED and not tag.group(3):
            depth = max(0, depth - 1) if tag.group(1) else depth + 1
            if depth > MAX_NESTING:
                raise UnreadableFile(f"is nested deeper than {MAX_NESTING} elements")


def _main(tree: Any) -> Any:
    """Return the element that holds the page's own text."""
    marked = tree.css("main, [role=main]") or tree.css("article")
    if len(marked) == 1 and marked[0].text().strip():
        return marked[0]
    for header in tree.css("body > header"):
        if not header.css("h1"):
            header.decompose()
    return tree.body


def _walk(root: Any) -> Iterator[tuple[Any, bool]]:
    """Yield every node below an element when it is entered, and elements when they are left."""
    node, going_down = root.first_child, True
    while node is not None:
        if going_down:
            yield node, True
            if node.first_child is not None:
                node = node.first_child
                continue
        if node.is_element_node:
            yield node, False
        if node.next is not None:
            node, going_down = node.next, True
        else:
            node, going_down = node.parent, False
            if node.mem_id == root.mem_id:
                return


class _Writer:
    """Writes the text of a page, block after block, a blank line between them."""

    def __init__(self, outline: Outline) -> None:
        self.blocks: list[Block] = []
        self._outline = outline
        self._done: list[str] = []
        self._length = 0
        self._block: list[str] = []
        self._whole = ""  # the table or the code that we are in
        self._heading = ""

    @property
    def text(self) -> str:
        return "\n\n".join(self._done)

    def take(self, node: Any, entering: bool) -> None:
        """Take in that a node begins or ends."""
        if node.is_text_node:
            self._block.append(node.text_content if self._whole == "pre" else _spaced(node))
            return
        if not node.is_element_node or node.tag in _INLINE:
            return
        if self._whole:
            self._inside_whole(node.tag, entering)
            return
        if node.tag == "br":
            self._block.append("\n" if entering else "")
            return
        self.end_block()
        if entering and node.tag in ("pre", "table"):
            self._whole = node.tag
        elif entering and node.tag == "li":
            self._block.append("- ")
        elif node.tag in _HEADINGS:
            self._heading = node.tag if entering else ""

    def end_block(self) -> None:
        """Write the block that has come to its end, if there is one."""
        joined = "".join(self._block)
        self._block = []
        text = joined.strip("\n").rstrip() if self._whole == "pre" else _tidy(joined)
        if text in ("", "-"):
            return
        if self._heading:
            text = text.replace("\n", " ")
            self._outline.enter(int(self._heading[1]), text)
        start = self._length + (2 if self._done else 0)
        self._length = start + len(text)
        self._done.append(text)
        self.blocks.append(
            Block(
                start,
                self._length,
                self._outline.headings,
                whole=bool(self._whole),
                is_heading=bool(self._heading),
            )
        )

    def _inside_whole(self, tag: str, entering: bool) -> None:
        if tag == self._whole and not entering:
            self.end_block()
            self._whole = ""
        elif self._whole == "pre":
            self._block.append("\n" if tag == "br" and entering else "")
        elif tag in _CELLS and not entering:
            self._block.append(" | ")
        elif tag == "tr" and not entering:
            self._block.append("\n")


def _spaced(node: Any) -> str:
    """Return a text with every run of white space as one space."""
    return re.sub(r"\s+", " ", node.text_content)


def _tidy(text: str) -> str:
    """Return lines without white space around them, and without empty ones."""
    lines = (re.sub(r" {2,}", " ", line).strip().removesuffix(" |") for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
