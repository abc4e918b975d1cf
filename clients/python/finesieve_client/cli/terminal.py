"""Write to the terminal: results on standard output, everything else on standard error."""

import json
import re
import sys
from functools import cache
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Control characters command a terminal, and the last group turns the reading direction round.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


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
    """Write one JSON document to standard output."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def one_line(text: str) -> str:
    """Return text that stays in its line and cannot command the terminal."""
    return " ".join(_UNSAFE.sub(" ", text).split())


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
