"""Make a passage from plain values, and read its metadata back."""

from collections.abc import Iterable, Mapping
from typing import Any

from finesieve.v1.passages_pb2 import Embedding, Passage
from finesieve_client.values import plain_values, struct_message


def passage(
    id: str,
    text: str,
    *,
    title: str = "",
    metadata: Mapping[str, Any] | None = None,
    document_id: str = "",
    ordinal: int = 0,
    parent_id: str = "",
    embedding: Iterable[float] | None = None,
    context_only: bool = False,
) -> Passage:
    """Return the contract's passage; raises ValueError for what a message cannot hold."""
    if not 0 <= ordinal < 2**32:
        raise ValueError(f"ordinal is {ordinal}; allowed 0..{2**32 - 1}")
    return Passage(
        id=id,
        text=text,
        title=title,
        metadata=struct_message(metadata) if metadata else None,
        document_id=document_id,
        ordinal=ordinal,
        parent_id=parent_id,
        embedding=None if embedding is None else embedding_message(embedding),
        context_only=context_only,
    )


def metadata_of(passage: Passage) -> dict[str, Any]:
    """Return a passage's metadata as plain values; whole numbers come back as int."""
    return plain_values(passage.metadata)


def embedding_message(values: Iterable[float]) -> Embedding:
    """Return one embedding, from a list or an array."""
    return Embedding(values=values)
