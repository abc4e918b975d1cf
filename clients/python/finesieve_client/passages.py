"""Make a passage from plain Python values, and read its metadata back.

The server would see neither a date nor an integer that a double cannot hold, so what JSON has no
form for is refused here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value

from finesieve.v1.passages_pb2 import Embedding, Passage

EXACT_INTEGERS = 2**53
MAX_LEVELS = 32  # the server's; protobuf itself reads some 100 messages deep, three a level


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


def struct_message(values: Mapping[str, Any], path: str = "metadata", level: int = 1) -> Struct:
    """Return a mapping of JSON values as a message; raises ValueError naming the field."""
    _check_level(level)
    fields = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise ValueError(f"{path} has the key {key!r}; keys are strings")
        fields[key] = value_message(value, f"{path}.{key}", level + 1)
    return Struct(fields=fields)


def value_message(value: Any, path: str, level: int = 1) -> Value:
    """Return one JSON value as a message; raises ValueError naming the field.

    `level`: how deep a list or a mapping here would be.
    """
    match value:
        case None:
            return Value(null_value=NULL_VALUE)
        case bool():
            return Value(bool_value=value)
        case str():
            return Value(string_value=value)
        case Real():
            return Value(number_value=_double(value, path))
        case Mapping():
            return Value(struct_value=struct_message(value, path, level))
        case Sequence() if not isinstance(value, bytes | bytearray):
            _check_level(level)
            elements = [
                value_message(element, f"{path}[{position}]", level + 1)
                for position, element in enumerate(value)
            ]
            return Value(list_value=ListValue(values=elements))
    raise ValueError(
        f"{path} is a {type(value).__name__}; allowed are strings, numbers, true, false, null, "
        "lists and mappings (write a date as an RFC 3339 string)"
    )


def plain_values(struct: Struct) -> dict[str, Any]:
    """Return a message's fields as plain values; whole numbers come back as int."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return plain_values(value.struct_value)
        case "list_value":
            return [_plain(element) for element in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None


def _check_level(level: int) -> None:
    if level > MAX_LEVELS:
        raise ValueError(f"metadata is nested deeper than {MAX_LEVELS} levels")


def _double(value: Real, path: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{path} is {value}; a number is finite")
    if isinstance(value, Integral) and abs(int(value)) > EXACT_INTEGERS:
        raise ValueError(
            f"{path} is {value}; a number is a double, exact to 2^53: write it as a string"
        )
    return number
