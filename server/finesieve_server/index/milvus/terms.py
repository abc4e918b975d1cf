"""Turn metadata into what Milvus can be asked for without doubt: terms, and bounds of ranges.

A JSON field of Milvus cannot keep a filter's promises: what a condition makes of a missing field,
of null, or of a list differs between its versions, and more so under `not`. So each passage
carries an array of terms, which is never null, and a condition asks whether it holds one of some:
that this field exists, that it equals this value, that its document is this. A term is a digest,
so that nothing of what anybody wrote becomes part of an expression.

Ranges need the values themselves. `bounds` holds those of each field and kind in ascending order
under a digest, numbers as doubles, strings as the hexadecimal digits of their UTF-8, which sort as
they do; a term says whether there is one or several, and so whether there is anything to compare.
"""

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Literal

from finesieve_server.index.filter_sql import SqlValue, fields_of
from finesieve_server.index.records import JsonValue, Passage

MAX_TERMS = 4096  # Milvus's longest array
TERM_LENGTH = 22  # of 128 bits in base 64
# Of a list. A longer one keeps its least and its greatest: ranges with one bound stay exact.
MAX_VALUES = 8
# Of a string. A bound must be shorter, so that what is cut off cannot matter.
MAX_VALUE_BYTES = 256

Kind = Literal["number", "text"]


def exists_term(path: str) -> str:
    """Return what every passage carries that has something at a path."""
    return _digest("exists", path.encode())


def value_term(path: str, value: SqlValue) -> str:
    """Return what every passage carries that has this value at a path."""
    if isinstance(value, float):
        return _digest("number", path.encode(), struct.pack(">d", value + 0.0))  # no minus zero
    if isinstance(value, str):
        return _digest("text", path.encode(), value.encode())
    return _digest("other", path.encode(), value)


def document_term(document_id: str) -> str:
    """Return what every passage of a document carries."""
    return _digest("document", document_id.encode())


def parent_term(parent_id: str) -> str:
    """Return what every child of a passage carries."""
    return _digest("parent", parent_id.encode())


def one_term(path: str, kind: Kind) -> str:
    """Return what every passage carries that has one number, or one string, at a path."""
    return _digest(f"one {kind}", path.encode())


def several_term(path: str, kind: Kind) -> str:
    """Return the same where there are several."""
    return _digest(f"several {kind}", path.encode())


def bounds_key(path: str, kind: Kind) -> str:
    """Return where `bounds` holds the numbers, or the strings, of a path."""
    return _digest(f"bounds {kind}", path.encode())


def bound_value(value: float | str) -> float | str:
    """Return a value as it lies in `bounds`. Strings longer than MAX_VALUE_BYTES are cut."""
    return value.encode()[:MAX_VALUE_BYTES].hex() if isinstance(value, str) else value + 0.0


def terms_of(passage: Passage) -> list[str]:
    """Return all terms of a passage. Raises ValueError where a number is not finite."""
    terms: set[str] = set()
    if passage.document_id:
        terms.add(document_term(passage.document_id))
    if passage.parent_id:
        terms.add(parent_term(passage.parent_id))
    for path, value in fields_of(passage.metadata):
        terms |= {exists_term(path), value_term(path, value)}
    for (path, kind), values in _ranged(passage.metadata).items():
        terms.add(one_term(path, kind) if len(values) == 1 else several_term(path, kind))
    return sorted(terms)


def bounds_of(metadata: Mapping[str, JsonValue]) -> dict[str, list[float | str]]:
    """Return the values to compare by key: one, or MAX_VALUES where there are several."""
    bounds: dict[str, list[float | str]] = {}
    for (path, kind), values in _ranged(metadata).items():
        ascending = sorted(values)
        if len(ascending) > 1:
            last = ascending[-1]
            ascending = [*ascending[: MAX_VALUES - 1], last]
            ascending += [last] * (MAX_VALUES - len(ascending))
        bounds[bounds_key(path, kind)] = ascending
    return bounds


def _ranged(metadata: Mapping[str, JsonValue]) -> dict[tuple[str, Kind], set[float | str]]:
    ranged: dict[tuple[str, Kind], set[float | str]] = {}
    for path, value in fields_of(metadata):
        if isinstance(value, float | str):
            kind: Kind = "text" if isinstance(value, str) else "number"
            ranged.setdefault((path, kind), set()).add(bound_value(value))
    return ranged


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")
