"""Turn a document into passages that know their place in it.

A leaf is what is embedded and found. With `parents`, leaves hang under passages of four times their
size and those under passages of sixteen times it, which are `context_only`: what auto-merging puts
in their place.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finesieve.v1.passages_pb2 import Passage
from finesieve_client.chunking.names import document_id_of, passage_id, shown
from finesieve_client.chunking.packing import Headings, Part, Piece, common, pack
from finesieve_client.chunking.reading import read_file, read_text
from finesieve_client.chunking.sentences import LANGUAGES, Span, finer, sentences
from finesieve_client.chunking.source import Block, Format, Source
from finesieve_client.chunking.titles import SEPARATOR, Titles
from finesieve_client.chunking.tokens import CountTokens, estimate_tokens
from finesieve_client.passages import passage

MIN_SIZE, MAX_SIZE = 32, 4_096
DEFAULT_SIZE, DEFAULT_OVERLAP = 256, 32
DEFAULT_PARENTS_SIZE = 128
PARENT_SIZES = 4, 16  # times a leaf's
# An unknown word can be one token however long it is; a passage has its limit all the same.
MAX_CHARACTERS_PER_TOKEN = 16
TITLE_SHARE = 4  # a title has at most a quarter of a passage
_UNMEASURED = -1


@dataclass(frozen=True, slots=True)
class ChunkOptions:
    """How documents are cut.

    `size`: tokens that a model reads of a passage at most: title, text and what the model adds.
    `overlap`: tokens that a passage repeats of the one before, in whole sentences. `parents`: two
    levels of parents. `language` (ISO 639-1): whose abbreviations end no sentence.
    `count_tokens` counts without what the model adds, `added_tokens`, to every text.
    """

    size: int = DEFAULT_SIZE
    overlap: int = DEFAULT_OVERLAP
    parents: bool = False
    language: str = "en"
    count_tokens: CountTokens = estimate_tokens
    added_tokens: int = 2

    def __post_init__(self) -> None:
        if not MIN_SIZE <= self.size <= self.max_size:
            raise ValueError(f"size is {self.size}; allowed {MIN_SIZE}..{self.max_size}")
        if not 0 <= self.overlap <= self.size // 2:
            raise ValueError(
                f"overlap is {self.overlap}; allowed 0..{self.size // 2}, half of the size"
            )
        if self.language not in LANGUAGES:
            raise ValueError(
                f"language is {self.language!r}; allowed are the codes of ISO 639-1: "
                + " ".join(sorted(LANGUAGES))
            )

    @property
    def max_size(self) -> int:
        """Return the largest size of a leaf, so that the largest passage fits into a request."""
        return MAX_SIZE // PARENT_SIZES[-1] if self.parents else MAX_SIZE

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the size of each level, the largest first."""
        above = [self.size * times for times in reversed(PARENT_SIZES)] if self.parents else []
        return (*above, self.size)


def chunk_text(
    text: str,
    document_id: str,
    *,
    title: str = "",
    format: Format = Format.TEXT,
    options: ChunkOptions = ChunkOptions(),
) -> list[Passage]:
    """Return the passages of a text; raises UnreadableFile where it has none.

    `format`: text, markdown or html.
    """
    return chunk(read_text(text, format), document_id, title=title, options=options)


def chunk_file(
    path: Path | str, document_id: str | None = None, *, options: ChunkOptions = ChunkOptions()
) -> list[Passage]:
    """Return the passages of a file; its path is the document's id unless one is given.

    Raises UnreadableFile where it is not text, Markdown, HTML or PDF with text in it, and OSError.
    """
    path = Path(path)
    name = document_id_of(path) if document_id is None else document_id
    return chunk(read_file(path), name, title=shown(path.stem), options=options)


def chunk(
    source: Source,
    document_id: str,
    *,
    title: str = "",
    metadata: Mapping[str, Any] | None = None,
    options: ChunkOptions = ChunkOptions(),
) -> list[Passage]:
    """Return the passages of what was read of a document: leaves, then parents, each in order.

    `title` is for a source that has none of its own. Metadata of each: `start` and `end` in the
    source's text, and where there are some, `section`, `page` and `last_page`; of parents `level`:
    2 of the outermost, else 1; and what `metadata` has for all.
    """
    writer = _Writer(source, document_id, source.title or title, metadata or {}, options)
    pieces = _pieces(source, options)
    parts = pack(pieces, options.sizes, options.overlap, writer.title_tokens)
    return writer.passages(pieces, parts)


def _pieces(source: Source, options: ChunkOptions) -> list[Piece]:
    """Return what chunks are made of, in order: sentences and whole blocks, finer where too long.

    A quarter of the size stays free for the title.
    """
    most = options.size - options.added_tokens - options.size // TITLE_SHARE
    pieces = [
        Piece(start, end, _UNMEASURED, block.headings, block.is_heading)
        for block in source.blocks
        for start, end in _spans(source.text, block, options.language)
    ]
    while any(piece.tokens == _UNMEASURED for piece in pieces):
        measured = _measured(source.text, pieces, most, options.count_tokens)
        pieces = [part for piece in measured for part in _fitting(source.text, piece, most)]
    return pieces


def _spans(text: str, block: Block, language: str) -> list[Span]:
    if block.whole or block.is_heading:
        return [(block.start, block.end)]
    return sentences(text, block.start, block.end, language)


def _measured(
    text: str, pieces: Sequence[Piece], most: int, count_tokens: CountTokens
) -> list[Piece]:
    """Return the pieces with their tokens; what is too long by its characters is not counted."""
    longest = most * MAX_CHARACTERS_PER_TOKEN
    texts = [
        text[piece.start : piece.end]
        for piece in pieces
        if piece.tokens == _UNMEASURED and piece.end - piece.start <= longest
    ]
    counts = iter(count_tokens(texts))
    measured = []
    for piece in pieces:
        length = piece.end - piece.start
        if piece.tokens != _UNMEASURED:
            measured.append(piece)
        elif length > longest:
            measured.append(replace(piece, tokens=most + 1))
        else:
            by_length = -(-length // MAX_CHARACTERS_PER_TOKEN)
            measured.append(replace(piece, tokens=max(next(counts), by_length)))
    return measured


def _fitting(text: str, piece: Piece, most: int) -> list[Piece]:
    """Return the piece, or where it is too long its parts, unmeasured."""
    if piece.tokens <= most:
        return [piece]
    parts = finer(text, (piece.start, piece.end))
    if len(parts) == 1:
        return [replace(piece, tokens=most)]
    return [replace(piece, start=start, end=end, tokens=_UNMEASURED) for start, end in parts]


class _Writer:
    """Makes the passages of one document."""

    def __init__(
        self,
        source: Source,
        document_id: str,
        title: str,
        metadata: Mapping[str, Any],
        options: ChunkOptions,
    ) -> None:
        self._source = source
        self._document_id = document_id
        self._metadata = metadata
        self._options = options
        self._titles = Titles(
            title,
            {block.headings for block in source.blocks},
            options.size // TITLE_SHARE,
            options.count_tokens,
        )

    def title_tokens(self, headings: Headings) -> int:
        """Return what of a passage's size is not for its text."""
        return self._options.added_tokens + self._titles.tokens(headings)

    def passages(self, pieces: Sequence[Piece], parts: Sequence[Part]) -> list[Passage]:
        """Return the passages of these parts: leaves, then the levels above them."""
        levels: dict[int, list[Passage]] = {}
        for part in parts:
            self._write(pieces, part, "", levels)
        return [each for level in sorted(levels) for each in levels[level]]

    def _write(
        self,
        pieces: Sequence[Piece],
        part: Part,
        parent_id: str,
        levels: dict[int, list[Passage]],
    ) -> None:
        # By what is above, not below: windows go along passages of one kind, and a parent that
        # would have been the only child of its own stands among the outermost.
        level = 0 if not part.parts else 1 if parent_id else 2
        ordinal = len(levels.setdefault(level, []))
        written = self._passage(pieces[slice(*part.range)], level, ordinal, parent_id)
        levels[level].append(written)
        for inner in part.parts:
            self._write(pieces, inner, written.id, levels)

    def _passage(
        self, pieces: Sequence[Piece], level: int, ordinal: int, parent_id: str
    ) -> Passage:
        start, end = pieces[0].start, pieces[-1].end
        headings = common([piece.headings for piece in pieces])
        metadata = {**self._metadata, **self._place(start, end, headings)}
        if level:
            metadata["level"] = level
        return passage(
            passage_id(self._document_id, level, ordinal),
            self._source.text[start:end],
            title=self._titles.title(headings),
            metadata=metadata,
            document_id=self._document_id,
            ordinal=ordinal,
            parent_id=parent_id,
            context_only=level > 0,
        )

    def _place(self, start: int, end: int, headings: Headings) -> dict[str, Any]:
        place: dict[str, Any] = {"start": start, "end": end}
        if headings:
            place["section"] = SEPARATOR.join(headings)
        if pages := self._source.pages:
            place["page"] = bisect_right(pages, start)
            place["last_page"] = bisect_right(pages, end - 1)
        return place
