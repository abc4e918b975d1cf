"""Compile a filter to SQL, every value of its author bound.

Metadata lies in the table passage_fields(field, value, label), one row per scalar, its path
dotted. A list's elements share the list's path. JSON's kinds stay apart by SQLite's: numbers
are REAL, strings TEXT, and everything else a BLOB that no number or string equals. Kinds sort
in that order, so a bound of the neighbouring kind ends a range.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.filters import (
    AllOf,
    AnyOf,
    Bound,
    Exists,
    Filter,
    InDocument,
    Match,
    NoneOf,
    Range,
    check,
)
from finesieve_server.index.records import JsonScalar, JsonValue

SqlValue: TypeAlias = float | str | bytes

_NULL = b""
_BOOLEAN = {False: b"\x00", True: b"\x01"}
_CONTAINER = b"\x02"  # an object, or a list without elements: exists, and equals nothing


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean SQL expression with what it binds, in order."""

    sql: str
    values: tuple[SqlValue, ...]


def fields_of(metadata: Mapping[str, JsonValue]) -> set[tuple[str, SqlValue]]:
    """Return the (dotted path, value) rows of a passage's metadata.

    Raises ValueError where a number is not finite or beyond a double.
    """
    rows: set[tuple[str, SqlValue]] = set()
    waiting: list[tuple[str, JsonValue]] = list(metadata.items())
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            rows.add((path, _CONTAINER))
            waiting.extend((f"{path}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if not value:
                rows.add((path, _CONTAINER))
            waiting.extend((path, inner) for inner in value)
        else:
            rows.add((path, _sql_value(value)))
    return rows


def accepts(condition: Filter) -> Condition:
    """Return SQL that tests a row `p` that is at hand, caller's values bound.

    Raises InvalidArgument where the filter is empty, mixes kinds, or is too large.
    """
    check(condition)
    return _tested(condition)


def members(condition: Filter, size_of: Callable[[Filter], int]) -> Condition:
    """Return SQL that starts from the rows of passage_fields that match, for few matches.

    Of conditions that must all hold, the one of the least size is walked, the others are tested.
    """
    check(condition)
    return _members(condition, size_of)


def rows_matching(leaf: Match | Range | Exists, *, value: str = "f.value") -> Condition:
    """Return SQL over the row `f` of passage_fields.

    `value` "+f.value" compares the values that are there, rather than look up each that is wanted.
    """
    match leaf:
        case Match(field, values):
            places = ", ".join("?" * len(values))
            bound = tuple(bound_value(each) for each in values)
            return Condition(f"f.field = ? AND {value} IN ({places})", (field, *bound))
        case Range():
            return _range(leaf)
        case Exists(field):
            return Condition("f.field = ?", (field,))


# By passage, whose fields are few and lie together; SQLite left alone may walk a whole range.
_EXISTS = (
    "EXISTS (SELECT 1 FROM passage_fields f INDEXED BY fields_by_passage"
    " WHERE f.label = p.label AND {})"
)


def _tested(condition: Filter) -> Condition:
    match condition:
        case AllOf(filters):
            return _joined("AND", [_tested(inner) for inner in filters])
        case AnyOf(filters):
            return _joined("OR", [_tested(inner) for inner in filters])
        case NoneOf(filters):
            return _formed("NOT {}", _joined("OR", [_tested(inner) for inner in filters]))
        case InDocument(document_id):
            return Condition("p.document_id = ?", (document_id,))
        case leaf:
            return _formed(_EXISTS, rows_matching(leaf, value="+f.value"))


def _members(condition: Filter, size_of: Callable[[Filter], int]) -> Condition:
    match condition:
        case AllOf(filters):
            walked, *others = sorted(filters, key=size_of)
            return _joined(
                "AND", [_members(walked, size_of), *(_tested(inner) for inner in others)]
            )
        case AnyOf(filters):
            return _joined("OR", [_members(inner, size_of) for inner in filters])
        case NoneOf() | InDocument():
            return _tested(condition)
        case leaf:
            return _formed(
                "p.label IN (SELECT f.label FROM passage_fields f WHERE {})", rows_matching(leaf)
            )


def bounds_given(bounds: Range) -> list[tuple[str, float | str]]:
    """Return the bounds that a range has, each behind its operator.

    Raises InvalidArgument where there is none, or numbers and strings.
    """
    given: list[tuple[str, Bound]] = [
        (operator, bound)
        for operator, bound in (
            (">", bounds.gt),
            (">=", bounds.gte),
            ("<", bounds.lt),
            ("<=", bounds.lte),
        )
        if bound is not None
    ]
    kinds = {"text" if isinstance(bound, str) else "number" for _, bound in given}
    if len(kinds) != 1 or any(isinstance(bound, bool) for _, bound in given):
        raise InvalidArgument(
            "filter",
            f"bounds {bounds.field!r} by {len(given)} values; numbers or strings, not both",
        )
    checked = [(operator, bound_value(bound)) for operator, bound in given]
    return [(operator, bound) for operator, bound in checked if not isinstance(bound, bytes)]


def _range(bounds: Range) -> Condition:
    given = bounds_given(bounds)
    is_text = isinstance(given[0][1], str)
    parts = ["f.field = ?", *(f"f.value {operator} ?" for operator, _ in given)]
    # The least value of the next kind: every number is below '', every string below x''.
    if bounds.lt is None and bounds.lte is None:
        parts.append("f.value < x''" if is_text else "f.value < ''")
    if is_text and bounds.gt is None and bounds.gte is None:
        parts.append("f.value >= ''")
    return Condition(" AND ".join(parts), (bounds.field, *(bound for _, bound in given)))


def _formed(form: str, inner: Condition) -> Condition:
    return Condition(form.format(inner.sql), inner.values)


def _joined(operator: str, parts: list[Condition]) -> Condition:
    # SQLite refuses an expression tree deeper than 1,000; halves keep it at log2 of the parts.
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    left, right = _joined(operator, parts[:half]), _joined(operator, parts[half:])
    return Condition(f"({left.sql} {operator} {right.sql})", left.values + right.values)


def _sql_value(value: JsonScalar) -> SqlValue:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _BOOLEAN[value]
    if isinstance(value, str):
        return value
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("a number beyond the range of a double") from None
    if not math.isfinite(number):
        raise ValueError(f"{number}, which is not a finite number")
    return number


def bound_value(value: object) -> SqlValue:
    """Return a value to compare with. Raises InvalidArgument where it is no scalar of JSON."""
    if value is not None and not isinstance(value, str | int | float):
        raise InvalidArgument(
            "filter", f"compares with a {type(value).__name__}; scalars are allowed"
        )
    try:
        return _sql_value(value)
    except ValueError as error:
        raise InvalidArgument("filter", f"compares with {error}") from None
