"""Say what a filter is, and refuse one that says nothing or too much."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import JsonScalar

Bound: TypeAlias = float | int | str

MAX_DEPTH = 32
MAX_CONDITIONS = 1000
MAX_VALUES = 10_000  # of one filter, to match; SQLite binds 32,766 parameters


@dataclass(frozen=True, slots=True)
class AllOf:
    filters: Sequence["Filter"]


@dataclass(frozen=True, slots=True)
class AnyOf:
    filters: Sequence["Filter"]


@dataclass(frozen=True, slots=True)
class NoneOf:
    filters: Sequence["Filter"]


@dataclass(frozen=True, slots=True)
class Match:
    """The field equals one of the values; a list does where one of its elements does."""

    field: str
    values: Sequence[JsonScalar]


@dataclass(frozen=True, slots=True)
class Range:
    """The field lies within the bounds: all numbers, or all strings by code point."""

    field: str
    gt: Bound | None = None
    gte: Bound | None = None
    lt: Bound | None = None
    lte: Bound | None = None


@dataclass(frozen=True, slots=True)
class InDocument:
    document_id: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there, whatever its value; null is a value."""

    field: str


Filter: TypeAlias = AllOf | AnyOf | NoneOf | Match | Range | InDocument | Exists


def check(condition: Filter) -> None:
    """Raise InvalidArgument where the filter is empty somewhere, or too large."""
    values = 0
    for conditions, (depth, inner) in enumerate(_walk(condition), 1):
        if depth > MAX_DEPTH:
            raise InvalidArgument("filter", f"is nested deeper than {MAX_DEPTH}")
        match inner:
            case AllOf(filters) | AnyOf(filters) | NoneOf(filters) if not filters:
                raise InvalidArgument("filter", f"has an empty {type(inner).__name__}")
            case Match(field, matched):
                values += len(matched)
                if not matched:
                    raise InvalidArgument("filter", f"matches {field!r} with no value")
        if conditions > MAX_CONDITIONS or values > MAX_VALUES:
            raise InvalidArgument(
                "filter",
                f"is too large; at most {MAX_CONDITIONS} conditions"
                f" and {MAX_VALUES} values are allowed",
            )


def _walk(condition: Filter) -> Iterator[tuple[int, Filter]]:
    waiting: list[tuple[int, Filter]] = [(1, condition)]
    while waiting:
        depth, inner = waiting.pop()
        yield depth, inner
        if isinstance(inner, AllOf | AnyOf | NoneOf) and depth <= MAX_DEPTH:
            waiting.extend((depth + 1, child) for child in inner.filters)
