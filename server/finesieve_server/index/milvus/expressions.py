"""Compile a filter to a Milvus expression over what terms.py made of the metadata.

Of what a filter's author wrote, an expression holds digests, hexadecimal digits and numbers alone.
Negations go down to the leaves: nothing is negated but "holds one of these terms", which every
version of Milvus knows as true or false, and never as unknown.
"""

from collections.abc import Iterable, Sequence

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.filter_sql import bound_value as checked
from finesieve_server.index.filter_sql import bounds_given
from finesieve_server.index.filters import (
    AllOf,
    AnyOf,
    Exists,
    Filter,
    InDocument,
    Match,
    NoneOf,
    Range,
    check,
)
from finesieve_server.index.milvus.terms import (
    MAX_VALUE_BYTES,
    MAX_VALUES,
    Kind,
    bound_value,
    bounds_key,
    document_term,
    exists_term,
    one_term,
    parent_term,
    several_term,
    value_term,
)

IS_FOUND = "context_only == false"

_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


def expression_of(condition: Filter) -> str:
    """Return the expression. Raises InvalidArgument where the filter is empty or too large."""
    check(condition)
    return _compiled(condition, wanted=True)


def all_of(*expressions: str) -> str:
    """Return what holds where all hold; empty ones hold everywhere."""
    return _joined("and", [each for each in expressions if each])


def id_in(ids: Iterable[str]) -> str:
    return f"id in [{', '.join(map(_literal, ids))}]"


def id_after(id: str) -> str:
    return f"id > {_literal(id)}"


def in_documents(document_ids: Iterable[str]) -> str:
    return _has(map(document_term, document_ids))


def children_of(parent_ids: Iterable[str]) -> str:
    return _has(map(parent_term, parent_ids))


def _compiled(condition: Filter, *, wanted: bool) -> str:
    """Return what holds where the condition holds, or where not."""
    match condition:
        case AllOf(filters):
            return _each("and" if wanted else "or", filters, wanted=wanted)
        case AnyOf(filters):
            return _each("or" if wanted else "and", filters, wanted=wanted)
        case NoneOf(filters):
            return _each("and" if wanted else "or", filters, wanted=not wanted)
        case Match(field, values):
            return _has((value_term(field, checked(value)) for value in values), wanted=wanted)
        case Exists(field):
            return _has([exists_term(field)], wanted=wanted)
        case InDocument(document_id):
            return _has([document_term(document_id)], wanted=wanted)
        case Range():
            return _range(condition, wanted=wanted)


def _each(operator: str, filters: Sequence[Filter], *, wanted: bool) -> str:
    return _joined(operator, [_compiled(inner, wanted=wanted) for inner in filters])


def _range(condition: Range, *, wanted: bool) -> str:
    bounds = bounds_given(condition)
    kind: Kind = "text" if isinstance(bounds[0][1], str) else "number"
    given = [(operator, _literal_bound(bound)) for operator, bound in bounds]
    one, several = one_term(condition.field, kind), several_term(condition.field, kind)
    key = bounds_key(condition.field, kind)

    def compared(position: int) -> str:
        value = f'bounds["{key}"][{position}]'
        if wanted:
            return _joined("and", [f"{value} {operator} {bound}" for operator, bound in given])
        return _joined(
            "or", [f"{value} {_OPPOSITE[operator]} {bound}" for operator, bound in given]
        )

    everyone = _joined("or" if wanted else "and", [compared(at) for at in range(MAX_VALUES)])
    ways = [
        _joined("and", [_has([one]), compared(0)]),
        _joined("and", [_has([several]), everyone]),
    ]
    if not wanted:
        ways.insert(0, _has([one, several], wanted=False))
    return _joined("or", ways)


def _has(terms: Iterable[str], *, wanted: bool = True) -> str:
    listed = ", ".join(f'"{term}"' for term in terms)
    holds = f"array_contains_any(terms, [{listed}])"
    return holds if wanted else f"(not {holds})"


def _joined(operator: str, parts: Sequence[str]) -> str:
    # In halves: a parser's stack grows with the depth of an expression.
    if len(parts) <= 1:
        return "".join(parts)
    half = len(parts) // 2
    return f"({_joined(operator, parts[:half])} {operator} {_joined(operator, parts[half:])})"


def _literal_bound(bound: float | str) -> str:
    if isinstance(bound, str):
        if len(bound.encode()) >= MAX_VALUE_BYTES:
            raise InvalidArgument(
                "filter",
                f"has a bound of {len(bound.encode())} bytes;"
                f" with Milvus at most {MAX_VALUE_BYTES - 1} are allowed",
            )
        return f'"{bound_value(bound)}"'
    return repr(bound_value(bound))


_ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}  # all that a literal needs
)


def _literal(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
