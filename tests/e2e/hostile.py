"""Make requests as an attacker would: random bytes, broken messages, whole ones of odd values."""

import math
from collections.abc import Callable
from random import Random
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

# What a client might send, and what only somebody hostile would.
GOOD_TEXTS = ("docs", "eels", "a", "p1", "a passage about eels", "number", "x" * 300)
ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "nobody",
    "[SEP] [CLS]",
    "'; DROP TABLE passages; --",
    "../../etc/passwd",
    "\u202e\U0010ffff\ufffe",
    "e\u0301" * 300,
    "\U0001f468\u200d" * 200,
    "x" * 9_000,
    "x" * 70_000,
    "a.b.c." * 100,
    "%s%n{0}",
)
GOOD_NUMBERS = (0.0, 1.0, 0.5, 0.25)
ODD_NUMBERS = (-0.0, -1.0, 1e-45, 3.4e38, -3.4e38, math.nan, math.inf, -math.inf)
ODD_DOUBLES = (*ODD_NUMBERS, 1e308, 2.0**53 + 1)
GOOD_COUNTS = (0, 1, 2, 10, 64)
ODD_COUNTS = (99, 4_096, 4_097, 2**31, 2**32 - 1)
GOOD_ENUMS = (0, 1, 2)
ODD_ENUMS = (3, 4, 99, -1, 2**31 - 1)
GOOD_SHARE = 0.97  # a request has many fields, and one odd value is enough to refuse it

LIST_SIZES = (1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 1_001)  # one more than the server takes
VECTOR_SIZES = (*[384] * 20, 383, 10_000, 1, 0)
FLOATS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
MAX_DEPTH = 6
MAX_BYTES = 8 * 1024 * 1024


def hostile_bytes(random: Random, request: Descriptor) -> bytes:
    """Return bytes for a method that takes this message."""
    way = random.randrange(7)  # beyond 2: the message as it is
    if way == 0:
        return random.randbytes(random.randrange(200))
    content = hostile_message(random, request).SerializeToString()[:MAX_BYTES]
    if way == 1:
        return content[: random.randrange(len(content) + 1)]
    if way == 2 and content:
        at = random.randrange(len(content))
        return content[:at] + random.randbytes(1) + content[at + 1 :]
    return content


def hostile_message(random: Random, kind: Descriptor, depth: int = 0) -> Message:
    """Return a well-formed message, any of whose fields may hold anything that fits it."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if random.random() < 0.55:
            continue
        if field.message_type is not None and depth >= MAX_DEPTH:
            continue
        set_field(random, message, field, depth)
    return message


def set_field(random: Random, message: Any, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        values = getattr(message, field.name)
        value_type = field.message_type.fields_by_name["value"].message_type
        assert value_type is not None, "Struct's is the only map of the contract"
        for _ in range(random.randrange(3)):
            values[VALUES[FieldDescriptor.TYPE_STRING](random)].CopyFrom(
                hostile_message(random, value_type, depth + 1)
            )
    elif field.is_repeated:
        count = random.choice(VECTOR_SIZES if field.type in FLOATS else LIST_SIZES)
        count = min(count, 3) if depth > 1 and field.type not in FLOATS else count
        values = getattr(message, field.name)
        if field.message_type is not None:
            few = [hostile_message(random, field.message_type, depth + 1) for _ in range(3)]
            values.extend((few * (1 + count // 3))[:count])
        else:
            values.extend(VALUES[field.type](random) for _ in range(count))
    elif field.message_type is not None:
        inner = hostile_message(random, field.message_type, depth + 1)
        getattr(message, field.name).CopyFrom(inner)
    elif field.name in ("collection", "name") and random.random() < GOOD_SHARE:
        setattr(message, field.name, "docs")
    else:
        setattr(message, field.name, VALUES[field.type](random))


def _mostly(good: tuple[Any, ...], odd: tuple[Any, ...]) -> Callable[[Random], Any]:
    return lambda random: random.choice(good if random.random() < GOOD_SHARE else odd)


VALUES: dict[int, Callable[[Random], Any]] = {
    FieldDescriptor.TYPE_STRING: _mostly(GOOD_TEXTS, ODD_TEXTS),
    FieldDescriptor.TYPE_FLOAT: _mostly(GOOD_NUMBERS, ODD_NUMBERS),
    FieldDescriptor.TYPE_DOUBLE: _mostly(GOOD_NUMBERS, ODD_DOUBLES),
    FieldDescriptor.TYPE_UINT32: _mostly(GOOD_COUNTS, ODD_COUNTS),
    FieldDescriptor.TYPE_UINT64: _mostly(GOOD_COUNTS, ODD_COUNTS),
    FieldDescriptor.TYPE_INT32: _mostly(GOOD_ENUMS, ODD_ENUMS),
    FieldDescriptor.TYPE_INT64: _mostly(GOOD_ENUMS, ODD_ENUMS),
    FieldDescriptor.TYPE_ENUM: _mostly(GOOD_ENUMS, ODD_ENUMS),
    FieldDescriptor.TYPE_BOOL: _mostly((True, False), (True, False)),
}
