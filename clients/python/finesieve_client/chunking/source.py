"""What is read of a file before it is cut: its text, and which parts of that are what."""

from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from types import ModuleType

from finesieve_client.extras import missing_extra


class Format(StrEnum):
    """How a document is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"


class UnreadableFile(Exception):
    """A file that has no text for us, and why."""


class NoText(UnreadableFile):
    """A file that was read, and holds no text."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a source's text that belongs together; `start` and `end` count characters.

    `headings` are those it stands under, outermost first, its own among them if it is one.
    `whole`: a table or code, which is cut only where it is too long, and then between lines.
    """

    start: int
    end: int
    headings: tuple[str, ...] = ()
    whole: bool = False
    is_heading: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A document's text with its blocks, in order and without overlap.

    `pages` has the position in the text where each page starts, where there are pages.
    `warnings` say what was read otherwise than one might think.
    """

    text: str
    blocks: tuple[Block, ...]
    title: str = ""
    pages: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


def library(name: str) -> ModuleType:
    """Import a library that only the extra `ingest` brings; raises MissingExtra."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise missing_extra("reading documents needs", name.partition(".")[0], "ingest") from error
