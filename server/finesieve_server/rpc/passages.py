"""Read passages and their ids, refusing what would not fit into an answer.

Texts are checked by the stages that read them, vectors by the index.
"""

import re
from collections.abc import Iterator, Sequence

from finesieve.v1 import passages_pb2
from finesieve_server.errors import EmptyField, InvalidArgument, TooLong
from finesieve_server.index.records import Passage
from finesieve_server.rpc.requests import check_count
from finesieve_server.rpc.values import read_struct
from finesieve_server.rpc.vectors import array_of
from finesieve_server.search.limits import Limits

# With these, and the limits of its texts and its embedding, one passage fits into every answer.
MAX_ID_BYTES = 256
MAX_METADATA_BYTES = 64 * 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def read_ids(ids: Sequence[str], limit: int) -> list[str]:
    check_count("ids", ids, limit)
    return [_passage_id(f"ids[{at}]", each) for at, each in enumerate(ids)]


def read_passages(messages: Sequence[passages_pb2.Passage], limits: Limits) -> Iterator[Passage]:
    """Give the passages as they are read: all of them may take long."""
    check_count("passages", messages, limits.max_passages)
    return (_passage(message, f"passages[{at}]") for at, message in enumerate(messages))


def _passage(message: passages_pb2.Passage, path: str) -> Passage:
    _check_bytes(f"{path}.document_id", len(message.document_id.encode()), MAX_ID_BYTES)
    _check_bytes(f"{path}.parent_id", len(message.parent_id.encode()), MAX_ID_BYTES)
    _check_bytes(f"{path}.metadata", message.metadata.ByteSize(), MAX_METADATA_BYTES)
    return Passage(
        id=_passage_id(f"{path}.id", message.id),
        text=message.text,
        title=message.title,
        metadata=read_struct(message.metadata, f"{path}.metadata"),
        document_id=message.document_id,
        ordinal=message.ordinal,
        parent_id=message.parent_id,
        embedding=array_of(message.embedding) if message.HasField("embedding") else None,
        context_only=message.context_only,
    )


def _check_bytes(field: str, size: int, limit: int) -> None:
    if size > limit:
        raise TooLong(field, size, limit, unit="bytes")


def _passage_id(field: str, value: str) -> str:
    if not value:
        raise EmptyField(field, f"is empty; 1..{MAX_ID_BYTES} bytes are allowed")
    if len(value) > MAX_ID_BYTES or len(value.encode()) > MAX_ID_BYTES:
        raise InvalidArgument(
            field, f"has {len(value.encode())} bytes; 1..{MAX_ID_BYTES} are allowed"
        )
    if _CONTROL.search(value):
        raise InvalidArgument(field, "has control characters")
    return value
