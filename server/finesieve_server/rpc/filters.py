"""Read a Filter of the contract into the index's own, refusing what is no condition.

Its size is checked before anything else, without recursion: a filter comes from outside.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from google.protobuf import struct_pb2

from finesieve.v1 import passages_pb2
from finesieve_server.errors import EmptyField, InvalidArgument
from finesieve_server.index.filters import (
    MAX_VALUES,
    AllOf,
    AnyOf,
    Exists,
    Filter,
    InDocument,
    Match,
    NoneOf,
    Range,
)
from finesieve_server.rpc.values import scalar
from finesieve_server.search.limits import Limits

_GROUPS: Mapping[str, Callable[[Sequence[Filter]], Filter]] = {
    "all_of": AllOf,
    "any_of": AnyOf,
    "none_of": NoneOf,
}
_BOUNDS: Final = ("gt", "gte", "lt", "lte")


def read_filter(message: passages_pb2.Filter, limits: Limits) -> Filter:
    """Return the filter. Raises InvalidArgument naming the part at fault, from "filter" on."""
    _check_size(message, limits)
    return _condition(message, "filter")


def _check_size(message: passages_pb2.Filter, limits: Limits) -> None:
    clauses, values = 1, 0
    level: Sequence[passages_pb2.Filter] = [message]
    for _ in range(limits.max_filter_depth):
        groups = [
            getattr(each, kind).filters
            for each in level
            if (kind := each.WhichOneof("condition")) in _GROUPS
        ]
        clauses += sum(map(len, groups))
        values += sum(len(each.match.any_of) for each in level)
        _check_limit(clauses, "clauses", limits.max_filter_clauses)
        _check_limit(values, "values to match", MAX_VALUES)
        if not groups:
            return
        level = [inner for group in groups for inner in group]
    raise InvalidArgument("filter", f"is nested deeper than {limits.max_filter_depth}")


def _check_limit(count: int, what: str, limit: int) -> None:
    if count > limit:
        raise InvalidArgument(
            "filter",
            f"has {count} {what} or more; at most {limit} are allowed",
            metadata={"limit": str(limit)},
        )


def _condition(message: passages_pb2.Filter, path: str) -> Filter:
    match message.WhichOneof("condition"):
        case "all_of" | "any_of" | "none_of" as kind:
            inner = getattr(message, kind).filters
            if not inner:
                raise EmptyField(f"{path}.{kind}.filters")
            return _GROUPS[kind](
                tuple(
                    _condition(each, f"{path}.{kind}.filters[{at}]")
                    for at, each in enumerate(inner)
                )
            )
        case "match":
            return _match(message.match, f"{path}.match")
        case "range":
            return _range(message.range, f"{path}.range")
        case "document_id":
            return InDocument(_not_empty(message.document_id, f"{path}.document_id"))
        case "exists":
            return Exists(_not_empty(message.exists.field, f"{path}.exists.field"))
        case _:
            raise InvalidArgument(path, "has no condition; exactly one is needed")


def _match(message: passages_pb2.FieldMatch, path: str) -> Match:
    field = _not_empty(message.field, f"{path}.field")
    if not message.any_of:
        raise EmptyField(f"{path}.any_of")
    values = (scalar(value, f"{path}.any_of[{at}]") for at, value in enumerate(message.any_of))
    return Match(field, tuple(values))


def _range(message: passages_pb2.FieldRange, path: str) -> Range:
    field = _not_empty(message.field, f"{path}.field")
    bounds = {
        name: _bound(getattr(message, name), f"{path}.{name}")
        for name in _BOUNDS
        if message.HasField(name)
    }
    if not bounds:
        raise InvalidArgument(path, f"has no bound; one of {', '.join(_BOUNDS)} is needed")
    if len({type(bound) for bound in bounds.values()}) > 1:
        raise InvalidArgument(path, "mixes bounds of different types; all numbers or all strings")
    return Range(field, **bounds)


def _bound(value: struct_pb2.Value, path: str) -> float | str:
    bound = scalar(value, path)
    if isinstance(bound, bool) or not isinstance(bound, float | str):
        raise InvalidArgument(path, "must be a number or a string")
    return bound


def _not_empty(text: str, path: str) -> str:
    if not text:
        raise EmptyField(path)
    return text
