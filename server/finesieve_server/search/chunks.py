"""Cut a long passage into overlapping chunks that each fit the window. Pure."""

from dataclasses import dataclass

# Share of a chunk that the next one repeats, so that no statement is cut in two unread.
_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class Chunk:
    """A half-open range of a passage's tokens."""

    start: int
    end: int


def cut(num_tokens: int, size: int, max_chunks: int) -> tuple[list[Chunk], bool]:
    """Return the chunks, in order, and whether tokens are left beyond the last of them."""
    step = max(1, size - int(size * _OVERLAP))
    chunks = [Chunk(0, min(size, num_tokens))]
    while chunks[-1].end < num_tokens and len(chunks) < max_chunks:
        start = chunks[-1].start + step
        chunks.append(Chunk(start, min(start + size, num_tokens)))
    return chunks, chunks[-1].end < num_tokens
