"""Say which passages a filter takes, and compile it to SQL.

Metadata lies in the table passage_fields(field, value, label), one row per scalar, its path
dotted. A list's elements share the list's path. JSON's kinds stay apart by SQLite's: numbers
are REAL, strings TEXT, and everything else a BLOB that no number or string equals. Kinds sort
in that order, so a bound of the neighbouring kind ends a range.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import JsonScalar, JsonValue

Bound: TypeAlias = float | int | str
SqlValue: TypeAlias = float | str | bytes

MAX_DEPTH = 32
MAX_CONDITIONS = 1000
MAX_VALUES = 10_000  # SQLite binds 32,766 parameters

_NULL = b""
_BOOLEAN = {False: b"\x00", True: b"\x01"}
_CONTAINER = b"\x02"  # an object, or a list without elements: exists, and equals nothing


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


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean SQL expression over the row `p` of passages, with what it binds."""

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


def compile_filter(condition: Filter, *, enumerate_matches: bool) -> Condition:
    """Return the SQL of a filter, every caller's value bound.

    One form starts from the matches, for few of them; the other tests a row that is at hand.
    Raises InvalidArgument where the filter is empty, mixes kinds, or is too large.
    """
    _check_size(condition)
    form = _MEMBER_OF if enumerate_matches else _TESTED
    pieces = _Compiler(form)
    sql = pieces.sql(condition)
    return Condition(sql, tuple(pieces.values))


_MEMBER_OF = "p.label IN (SELECT f.label FROM passage_fields f WHERE {})"
_TESTED = "EXISTS (SELECT 1 FROM passage_fields f WHERE {} AND f.label = p.label)"


class _Compiler:
    """Collect bound values in the order in which their places appear in the text."""

    def __init__(self, form: str) -> None:
        self.values: list[SqlValue] = []
        self._form = form

    def sql(self, condition: Filter) -> str:
        match condition:
            case AllOf(filters):
                return _balanced("AND", [self.sql(inner) for inner in filters])
            case AnyOf(filters):
                return _balanced("OR", [self.sql(inner) for inner in filters])
            case NoneOf(filters):
                return f"NOT {_balanced('OR', [self.sql(inner) for inner in filters])}"
            case Match(field, values):
                self.values += [field, *(_bound_value(value) for value in values)]
                places = ", ".join("?" * len(values))
                return self._form.format(f"f.field = ? AND f.value IN ({places})")
            case Range():
                return self._range(condition)
            case Exists(field):
                self.values.append(field)
                return self._form.format("f.field = ?")
            case InDocument(document_id):
                self.values.append(document_id)
                return "p.document_id = ?"

    def _range(self, bounds: Range) -> str:
        given = [
            (operator, bound)
            for operator, bound in (
                (">", bounds.gt),
                (">=", bounds.gte),
                ("<", bounds.lt),
                ("<=", bounds.lte),
            )
            if bound is not None
        ]
        texts = sum(isinstance(bound, str) for _, bound in given)
        if texts not in (0, len(given)):
            raise InvalidArgument(
                "filter", f"mixes numbers and strings as bounds of {bounds.field!r}"
            )
        parts = ["f.field = ?"]
        self.values.append(bounds.field)
        for operator, bound in given:
            parts.append(f"f.value {operator} ?")
            self.values.append(_bound_value(bound))
        if bounds.lt is None and bounds.lte is None:
            # The least value of the next kind: every number is below '', every string below x''.
            parts.append("f.value < x''" if texts else "f.value < ''")
        if texts and bounds.gt is None and bounds.gte is None:
            parts.append("f.value >= ''")
        return self._form.format(" AND ".join(parts))


def _balanced(operator: str, parts: list[str]) -> str:
    # SQLite refuses an expression tree deeper than 1,000; halves keep it at log2 of the parts.
    if len(parts) == 1:
        return f"({parts[0]})"
    half = len(parts) // 2
    return f"({_balanced(operator, parts[:half])} {operator} {_balanced(operator, parts[half:])})"


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


def _bound_value(value: object) -> SqlValue:
    if value is not None and not isinstance(value, str | int | float):
        raise InvalidArgument(
            "filter", f"compares with a {type(value).__name__}; scalars are allowed"
        )
    try:
        return _sql_value(value)
    except ValueError as error:
        raise InvalidArgument("filter", f"compares with {error}") from None


def _check_size(condition: Filter) -> None:
    conditions = values = 0
    for depth, inner in _walk(condition):
        conditions += 1
        if depth > MAX_DEPTH:
            raise InvalidArgument("filter", f"is nested deeper than {MAX_DEPTH}")
        match inner:
            case AllOf(filters) | AnyOf(filters) | NoneOf(filters):
                if not filters:
                    raise InvalidArgument("filter", f"has an empty {type(inner).__name__}")
            case Match(field, matched):
                values += len(matched)
                if not matched:
                    raise InvalidArgument("filter", f"matches {field!r} with no value")
            case Range(field, None, None, None, None):
                raise InvalidArgument("filter", f"has a range of {field!r} without a bound")
        if conditions > MAX_CONDITIONS or values > MAX_VALUES:
            raise InvalidArgument(
                "filter",
                f"is too large; at most {MAX_CONDITIONS} conditions and {MAX_VALUES} values are allowed",
            )


def _walk(condition: Filter) -> Iterator[tuple[int, Filter]]:
    waiting: list[tuple[int, Filter]] = [(1, condition)]
    while waiting:
        depth, inner = waiting.pop()
        yield depth, inner
        if isinstance(inner, AllOf | AnyOf | NoneOf) and depth <= MAX_DEPTH:
            waiting.extend((depth + 1, child) for child in inner.filters)
