"""Turn the contract's messages into plain values for JSON.

Unlike protobuf's own JSON, 64-bit counts are numbers and an enum is its last word in lower case.
"""

from collections.abc import MutableSequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from finesieve_client.values import plain_values


def plain(message: Message) -> Any:
    """Return a message as plain values; parts that are not set are left out, zeros are not."""
    match message:
        case Struct():
            return plain_values(message)
        case Timestamp():
            return message.ToJsonString()
        case Duration():
            return message.seconds + message.nanos / 1e9
    return {
        field.name: _plain_value(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _plain_value(field: Any, value: Any) -> Any:
    if isinstance(value, MutableSequence):
        return [_plain_value(field, element) for element in value]
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        names = field.enum_type.values_by_number
        prefix = names[0].name.removesuffix("UNSPECIFIED")
        return names[value].name.removeprefix(prefix).lower() if value in names else value
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return float(f"{value:.7g}")  # the digits that a float32 has
    return value
