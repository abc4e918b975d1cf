"""Read google.protobuf Struct and Value into plain values, refusing what JSON has no word for."""

import math

from google.protobuf import struct_pb2

from finesieve_server.errors import InvalidArgument, TooLong
from finesieve_server.index.records import JsonValue

Scalar = str | float | bool | None

# A level takes up to three of the 100 levels of messages that protobuf reads, and an answer nests
# what it holds some levels deeper than the request did.
MAX_DEPTH = 32
# The index holds a field's path with each of its values: a long one many times over.
MAX_PATH_CHARS = 256


def read_struct(message: struct_pb2.Struct, path: str) -> dict[str, JsonValue]:
    """Return the fields. Raises InvalidArgument naming `path` for too deep or too long paths."""
    return _fields(message, path, path, 1)


def scalar(message: struct_pb2.Value, path: str) -> Scalar:
    """Return a string, a finite number, a boolean or None. Raises InvalidArgument for the rest."""
    kind = message.WhichOneof("kind")
    if kind == "string_value":
        return message.string_value
    if kind == "number_value":
        number = message.number_value
        if not math.isfinite(number):
            raise InvalidArgument(path, f"is {number}; numbers must be finite")
        return number
    if kind == "bool_value":
        return message.bool_value
    if kind == "null_value":
        return None
    seen = "has no value" if kind is None else f"is a {kind.removesuffix('_value')}"
    raise InvalidArgument(path, f"{seen}; a string, a number, a boolean or null is needed")


def _fields(message: struct_pb2.Struct, root: str, path: str, depth: int) -> dict[str, JsonValue]:
    _check_depth(root, depth)
    fields = {}
    for key, value in message.fields.items():
        inner = f"{path}.{key}"
        length = len(inner) - len(root) - 1
        if length > MAX_PATH_CHARS:
            raise TooLong(root, length, MAX_PATH_CHARS, unit="characters in the path of a field")
        fields[key] = _value(value, root, inner, depth)
    return fields


def _value(message: struct_pb2.Value, root: str, path: str, depth: int) -> JsonValue:
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return _fields(message.struct_value, root, path, depth + 1)
    if kind == "list_value":
        _check_depth(root, depth + 1)
        values = message.list_value.values
        return [_value(value, root, f"{path}[{at}]", depth + 1) for at, value in enumerate(values)]
    return scalar(message, path)


def _check_depth(root: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidArgument(root, f"nests more than {MAX_DEPTH} levels deep")
