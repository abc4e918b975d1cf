"""Read google.protobuf Struct and Value into plain values, refusing what JSON has no word for."""

import math

from google.protobuf import struct_pb2

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import JsonValue

Scalar = str | float | bool | None


def read_struct(message: struct_pb2.Struct, path: str) -> dict[str, JsonValue]:
    """Return the fields. Depth is bounded by protobuf's own limit on nesting."""
    return {key: _value(value, f"{path}.{key}") for key, value in message.fields.items()}


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


def _value(message: struct_pb2.Value, path: str) -> JsonValue:
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return read_struct(message.struct_value, path)
    if kind == "list_value":
        values = message.list_value.values
        return [_value(value, f"{path}[{at}]") for at, value in enumerate(values)]
    return scalar(message, path)
