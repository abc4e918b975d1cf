"""Read PDF: each page's text in its order, words and sentences that lines divide put together."""

from collections.abc import Iterator
from typing import Any

from finesieve_client.chunking.source import Block, Source, UnreadableFile, library

# What PDFium writes for a hyphen at the end of a line; it has joined the lines already.
_HYPHEN = "\ufffe"
_NOT_TEXT = dict.fromkeys(at for at in range(0x20) if chr(at) not in "\n\t")


def read(content: bytes) -> Source:
    """Return the text of a PDF; raises UnreadableFile for what is damaged, locked or a scan."""
    pdfium = library("pypdfium2")
    try:
        document = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise UnreadableFile(
            "is locked with a password" if locked else f"is no readable PDF: {error}"
        ) from error
    try:
        title = document.get_metadata_value("Title").strip()
        texts = list(_page_texts(document, pdfium))
    finally:
        document.close()
    num_empty = sum(not text for text in texts)
    if num_empty == len(texts):
        raise UnreadableFile(f"has no text on its {len(texts)} pages: a scan needs OCR first")
    warnings = (f"{num_empty} of {len(texts)} pages have no text",) if num_empty else ()
    starts, length = [], 0
    for text in texts:
        starts.append(length)
        length += len(text) + 1
    whole = "\n".join(texts)
    return Source(whole, (Block(0, len(whole)),), title, tuple(starts), warnings)


def _page_texts(document: Any, pdfium: Any) -> Iterator[str]:
    for number in range(len(document)):
        try:
            page = document[number]
            text_page = page.get_textpage()
            text = text_page.get_text_range()
        except pdfium.PdfiumError as error:
            raise UnreadableFile(f"page {number + 1} cannot be read: {error}") from error
        text_page.close()
        page.close()
        yield _tidy(text)


def _tidy(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace(_HYPHEN, "")
    lines = (" ".join(line.split()) for line in text.translate(_NOT_TEXT).split("\n"))
    return _joined("\n".join(line for line in lines if line))


def _joined(text: str) -> str:
    """Return text in which a line that goes on in small letters is one with the next."""
    found: str = library("regex").sub(r"(?<![.!?:;。！？])\n(?=\p{Ll})", " ", text)
    return found
