"""Write to the terminal: results on standard output, everything else on standard error.

As JSON, unlike protobuf's own, 64-bit counts are numbers and an enum is its last word in lower
case.
"""

import json
import re
import sys
from collections.abc import MutableSequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from finesieve_client.passages import plain_values

# Control characters command a terminal, and the last group turns the reading direction round.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# The same in JSON, which has escaped the first ones, and what nobody sees.
_HIDDEN = re.compile(
    "[\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


@cache
def out() -> Console:
    """Return standard output."""
    return Console(highlight=False)


@cache
def err() -> Console:
    """Return standard error."""
    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Tell on standard error what is going on."""
    err().print(Text(one_line(text)), soft_wrap=True)


def complain(problem: str) -> None:
    """Say on standard error, in one line, what is wrong."""
    err().print(Text.assemble(("finesieve: ", "bold red"), one_line(problem)), soft_wrap=True)


def write_json(value: Any) -> None:
    """Write one JSON document to standard output, in which nothing commands or deceives."""
    for part in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
        sys.stdout.write(_HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], part))
    sys.stdout.write("\n")


def one_line(text: str) -> str:
    """Return text that stays in its line and cannot command the terminal."""
    return " ".join(_UNSAFE.sub(" ", text).split())


def lines(text: str) -> str:
    """Return text that keeps its lines and cannot command the terminal."""
    return "\n".join(_UNSAFE.sub(" ", line) for line in text.split("\n"))


def milliseconds(microseconds: float) -> str:
    """Return a duration for people, with three digits that matter."""
    value = microseconds / 1e3
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def plain_table(*columns: str) -> Table:
    """Return a table without lines; a column whose name begins with ">" is right-aligned."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left")
    return table


class CountColumn(ProgressColumn):
    """How many are done, of how many where that is known."""

    def render(self, task: Task) -> Text:
        """Return the counts."""
        total = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total}")


class RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return the rate over the last half minute."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.3g}/s" if rate < 100 else f"{rate:,.0f}/s")


def progress_bar() -> Progress:
    """Return a bar to be used as a context manager; it leaves its last state behind."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        CountColumn(),
        RateColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=err(),
    )


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
