"""Cut documents into passages: read a file, find its sentences, pack them to a size in tokens.

    from finesieve_client.chunking import chunk_file, chunk_text

    with Client("localhost:50051") as client:
        client.upsert_passages("docs", chunk_file("guide.md"), replace_documents=True)

Needs `pip install 'finesieve[ingest]'`. `finesieve ingest --chunk` does it for whole folders.
"""

from finesieve_client.chunking.chunker import ChunkOptions, chunk, chunk_file, chunk_text
from finesieve_client.chunking.source import Block, Format, Source, UnreadableFile
from finesieve_client.chunking.tokens import CountTokens, estimate_tokens

__all__ = [
    "Block",
    "ChunkOptions",
    "CountTokens",
    "Format",
    "Source",
    "UnreadableFile",
    "chunk",
    "chunk_file",
    "chunk_text",
    "estimate_tokens",
]
