"""Read a document in whatever format it is: its content says so, else its name, else it is text."""

import re
import stat
from dataclasses import replace
from pathlib import Path

from finesieve_client.chunking.encoding import decode
from finesieve_client.chunking.extraction import html, markdown, pdf
from finesieve_client.chunking.source import Block, Format, NoText, Source, UnreadableFile

MAX_FILE_BYTES = 256 * 1024 * 1024
FORMATS = {
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".rst": Format.TEXT,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".xhtml": Format.HTML,
    ".pdf": Format.PDF,
}
_PDF_MAGIC = b"%PDF-"
_HTML_BEGINS = re.compile(rb"\s*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


def read_file(path: Path) -> Source:
    """Return what a file says; raises UnreadableFile where that is no text, and OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe may never end, nor even begin
        raise UnreadableFile("is no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise UnreadableFile(f"has {status.st_size:,} bytes; {MAX_FILE_BYTES:,} are allowed")
    content = path.read_bytes()
    written_as = _format_of(path, content)
    if written_as is Format.PDF:
        return _with_text(pdf.read(content))
    declared = _CHARSET.search(content[:4096]) if written_as is Format.HTML else None
    text, warnings = decode(content, declared and declared.group(1).decode("ascii"))
    return replace(read_text(text, written_as), warnings=warnings)


def read_text(text: str, format: Format) -> Source:
    """Return what a text in some format says; raises UnreadableFile where there is nothing."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    match format:
        case Format.TEXT:
            return _with_text(Source(text, (Block(0, len(text)),)))
        case Format.MARKDOWN:
            return _with_text(markdown.read(text))
        case Format.HTML:
            return _with_text(html.read(text))
    raise ValueError(f"format is {format}; a PDF is no text, chunk_file reads it")


def _format_of(path: Path, content: bytes) -> Format:
    if _PDF_MAGIC in content[:1024]:
        return Format.PDF
    if _HTML_BEGINS.match(content.removeprefix(b"\xef\xbb\xbf")[:1024]):
        return Format.HTML
    return FORMATS.get(path.suffix.lower(), Format.TEXT)


def _with_text(source: Source) -> Source:
    """Return the source; raises UnreadableFile where it is white space alone."""
    if not source.text or source.text.isspace() or not source.blocks:
        raise NoText("has no text")
    return source
