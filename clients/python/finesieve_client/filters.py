"""Write conditions on passages as expressions: `(field("year") >= 2020) & ~document("draft")`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finesieve.v1.passages_pb2 import FieldExists, FieldMatch, FieldRange, Filter, Filters
from finesieve_client.passages import value_message

Scalar = str | float | bool | None
Bound = str | float


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on passages; `&`, `|` and `~` combine them."""

    message: Filter

    def __and__(self, other: Condition) -> Condition:
        """Both hold."""
        parts = _parts(self, "all_of") + _parts(other, "all_of")
        return Condition(Filter(all_of=Filters(filters=parts)))

    def __or__(self, other: Condition) -> Condition:
        """At least one holds."""
        parts = _parts(self, "any_of") + _parts(other, "any_of")
        return Condition(Filter(any_of=Filters(filters=parts)))

    def __invert__(self) -> Condition:
        """It does not hold; a passage without the field is among those."""
        return Condition(Filter(none_of=Filters(filters=[self.message])))

    def __bool__(self) -> bool:
        """Refuse: `and`, `or`, `not` and `1 < field < 3` would silently lose a condition."""
        raise TypeError("combine conditions with &, | and ~, each in parentheses")


@dataclass(frozen=True, slots=True, eq=False)
class Field:  # noqa: PLW1641  one that compares into conditions has no use for a hash
    """A metadata field by its dotted path; comparing it makes a condition.

    Bounds are all numbers or all strings; strings order by code point, which orders RFC 3339
    dates. A list field equals a value that is among its elements.
    """

    path: str

    def any_of(self, *values: Scalar) -> Condition:
        """Equals one of the values."""
        match = FieldMatch(
            field=self.path, any_of=[value_message(value, self.path) for value in values]
        )
        return Condition(Filter(match=match))

    def exists(self) -> Condition:
        """Has any value."""
        return Condition(Filter(exists=FieldExists(field=self.path)))

    def __eq__(self, value: Scalar) -> Condition:  # type: ignore[override]
        return self.any_of(value)

    def __ne__(self, value: Scalar) -> Condition:  # type: ignore[override]
        return ~self.any_of(value)

    def __gt__(self, bound: Bound) -> Condition:
        return Condition(
            Filter(range=FieldRange(field=self.path, gt=value_message(bound, self.path)))
        )

    def __ge__(self, bound: Bound) -> Condition:
        return Condition(
            Filter(range=FieldRange(field=self.path, gte=value_message(bound, self.path)))
        )

    def __lt__(self, bound: Bound) -> Condition:
        return Condition(
            Filter(range=FieldRange(field=self.path, lt=value_message(bound, self.path)))
        )

    def __le__(self, bound: Bound) -> Condition:
        return Condition(
            Filter(range=FieldRange(field=self.path, lte=value_message(bound, self.path)))
        )


def field(path: str) -> Field:
    """Name a metadata field, such as `field("author.name")`."""
    return Field(path)


def document(document_id: str) -> Condition:
    """Was cut from this document."""
    return Condition(Filter(document_id=document_id))


def filter_message(condition: Condition | Filter | None) -> Filter | None:
    """Return the contract's message for a condition, or for one that is a message already."""
    return condition.message if isinstance(condition, Condition) else condition


def _parts(condition: Condition, kind: Literal["all_of", "any_of"]) -> list[Filter]:
    """Return what a chain of the same operator has joined so far, so that depth stays at one."""
    if condition.message.WhichOneof("condition") != kind:
        return [condition.message]
    return list(getattr(condition.message, kind).filters)
