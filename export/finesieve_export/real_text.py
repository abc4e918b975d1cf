"""Questions and passages that every machine has: the standard library's own docstrings.

A docstring's first line asks, the rest answers. Chosen without chance, so that two exports on one
Python are compared on the same text.
"""

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MAX_PASSAGE_CHARACTERS = 700


@dataclass(frozen=True, slots=True)
class Question:
    """A real line of text, and the passage it was written above."""

    query: str
    passage: str


def read_questions(limit: int) -> list[Question]:
    """Return up to `limit` questions, spread evenly over the standard library's modules."""
    found = _read_all()
    step = max(1, len(found) // limit)
    return list(found[::step][:limit])


@cache
def _read_all() -> tuple[Question, ...]:
    """Return each question where it is first asked, by module. Takes a second or two."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    first_asked: dict[str, Question] = {}
    for path in paths:
        for question in _read_module(path):
            first_asked.setdefault(question.query, question)
    return tuple(first_asked.values())


def _read_module(path: Path) -> Iterator[Question]:
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(ast.parse(path.read_bytes())):
        docstring = ast.get_docstring(node) if isinstance(node, documented) else None
        query, _, rest = (docstring or "").partition("\n")
        if len(query.split()) >= 4 and len(rest.split()) >= 12:
            name = getattr(node, "name", "")
            yield Question(query.strip(), f"{name}: {rest.strip()}"[:_MAX_PASSAGE_CHARACTERS])
