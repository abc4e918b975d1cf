"""Read passages from JSON lines, plain or gzipped; a bad row says its line and why, and is passed.

A row is BEIR's (`_id`, `title`, `text`, `metadata`) or has the contract's own field names.
"""

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

from finesieve.v1.passages_pb2 import Passage
from finesieve_client.passages import passage

GZIP_MAGIC = b"\x1f\x8b"
STDIN = "-"
MAX_ID_BYTES = 256  # the contract's, as is that an id has no control characters
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f]")
MAX_PASSAGE_BYTES = 4_000_000  # gRPC takes messages of 4 MiB by default
KINDS: Mapping[str, type] = {
    "id": str,
    "text": str,
    "title": str,
    "metadata": dict,
    "document_id": str,
    "ordinal": int,
    "parent_id": str,
    "embedding": list,
    "context_only": bool,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One good row; `line` counts from 1. `ignored` are fields that a passage does not have."""

    line: int
    passage: Passage
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that is not a passage, and why."""

    line: int
    reason: str


class DamagedFile(Exception):
    """A file that ends in the middle, or is no gzip file inside."""


def read_lines(source: str) -> Iterator[bytes]:
    """Yield the lines of a file, or of standard input for "-".

    Raises OSError where it cannot be read, DamagedFile where what is gzipped is not whole.
    """
    if source == STDIN:
        # A reader of our own: a thread may be waiting in it when Python ends and closes sys.stdin.
        with os.fdopen(0, "rb", closefd=False) as file:
            yield from _unzipped(file, "standard input")
    else:
        with Path(source).open("rb") as file:
            yield from _unzipped(file, source)


def count_rows(source: str) -> int | None:
    """Return how many rows a file has; None for what can be read only once, such as a pipe."""
    path = Path(source)
    if source == STDIN or path.is_fifo() or path.is_char_device() or path.is_socket():
        return None
    return sum(not line.isspace() for line in read_lines(source))


def digest(source: str) -> str:
    """Return the SHA-256 of what a file says, unzipped."""
    sha256 = hashlib.sha256()
    for line in read_lines(source):
        sha256.update(line)
    return sha256.hexdigest()


def read_rows(lines: Iterable[bytes]) -> Iterator[Row | BadRow]:
    """Yield one result per line that is not blank; an id counts the first time it comes."""
    lines_of_ids: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            row = _row(number, line)
        except ValueError as error:
            yield BadRow(number, str(error))
            continue
        first = lines_of_ids.setdefault(row.passage.id, number)
        if first == number:
            yield row
        else:
            yield BadRow(number, f"id {row.passage.id!r} was on line {first} already")


def parse_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line; raises ValueError saying what is wrong with it."""
    try:
        value = json.loads(parse_text(line), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"is not an object: {_json_name(value)}")
    return value


def parse_text(line: bytes) -> str:
    """Return a line as text; raises ValueError where it is none."""
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}") from error


def parse_fields(line: bytes, required: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a row's fields of a passage, and the names of the others; raises ValueError."""
    values = parse_object(line)
    if "_id" in values:
        values.setdefault("id", values.pop("_id"))
    if type(values.get("id")) is int:
        values["id"] = str(values["id"])
    fields = {name: values[name] for name in KINDS if values.get(name) is not None}
    for name in required:
        if name not in fields:
            raise ValueError(f"has no {name}")
    for name, value in fields.items():
        if type(value) is not KINDS[name]:  # exactly: true is an int to isinstance
            raise ValueError(
                f"{name} is {_json_name(value)}; it must be {_json_name(KINDS[name]())}"
            )
        if isinstance(value, str) and any("\ud800" <= each <= "\udfff" for each in value):
            raise ValueError("has half a surrogate pair, which is no character")
    return fields, tuple(name for name in values if name not in KINDS)


def _row(number: int, line: bytes) -> Row:
    fields, ignored = parse_fields(line, ("id", "text"))
    _check_id(fields["id"])
    made = _passage(fields)
    if made.ByteSize() > MAX_PASSAGE_BYTES:
        raise ValueError(f"has {made.ByteSize():,} bytes; one request holds {MAX_PASSAGE_BYTES:,}")
    return Row(number, made, ignored)


def _check_id(passage_id: str) -> None:
    num_bytes = len(passage_id.encode())
    if not 1 <= num_bytes <= MAX_ID_BYTES:
        raise ValueError(f"id has {num_bytes} bytes; 1..{MAX_ID_BYTES} are allowed")
    if CONTROL_CHARACTERS.search(passage_id):
        raise ValueError("id has control characters")


def _passage(fields: Mapping[str, Any]) -> Passage:
    try:
        return passage(**fields)
    except UnicodeEncodeError as error:
        raise ValueError("has half a surrogate pair, which is no character") from error
    except TypeError as error:
        raise ValueError("embedding must be a list of numbers") from error


def _unzipped(file: BufferedReader, name: str) -> Iterator[bytes]:
    lines: BinaryIO = file
    if file.peek(2)[:2] == GZIP_MAGIC:
        lines = cast("BinaryIO", gzip.GzipFile(fileobj=file))
    try:
        yield from lines
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFile(f"{name} is damaged: {error}") from error


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _json_name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
    return "an object"
