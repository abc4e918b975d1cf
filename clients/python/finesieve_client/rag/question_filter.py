"""Turn what a question says of metadata into a filter, by a language model.

The model only names fields, comparisons and values; each is checked against the fields given
before it becomes a condition, because a wrong type would match nothing without a word.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, Literal

from finesieve_client.filters import Bound, Condition, Field, Scalar, field
from finesieve_client.rag.completion import Message
from finesieve_client.rag.json_answer import (
    THINKING_TOKENS,
    UnreadableAnswer,
    in_one_line,
    list_of,
    list_schema,
    object_schema,
    read_object,
    shortened,
)
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.prompt import fenced, question_line

ANSWER_TOKENS = THINKING_TOKENS + 1_000
MOST_CONDITIONS = 16
MOST_VALUES = 64

TO_FILTER = """\
Say which conditions on metadata the question states. Each field is one line of JSON. State a \
condition only where the question itself names the value; what the question is about is no \
condition, and most questions have none: give an empty list. All conditions must hold. "in" and \
"not in" compare with several values, the others with one. Dates are written as in RFC 3339.
Answer as JSON: {"conditions": [{"field": "...", "comparison": "...", "values": [...]}]}."""

ORDERED: Mapping[str, Callable[[Field, Bound], Condition]] = {
    ">": Field.__gt__,
    ">=": Field.__ge__,
    "<": Field.__lt__,
    "<=": Field.__le__,
}
MATCHED = ("in", "not in", "=", "!=")


@dataclass(frozen=True, slots=True)
class FilterField:
    """A metadata field as a question may speak of it; `values`: all that it can have, if few."""

    kind: Literal["string", "number", "boolean"]
    description: str = ""
    values: Sequence[Scalar] = ()


def to_filter(question: str, fields: Mapping[str, FilterField], llm: Llm) -> Condition | None:
    """Return the conditions that the question states, all of which hold; None where it has none.

    `fields`: by their dotted paths. One call. Raises LlmError where no answer came, and
    UnreadableAnswer for a field, a comparison or a value that there is not: half a filter would be
    a wrong one.
    """
    if not fields:
        raise ValueError("there are no fields to filter by")
    messages = [
        Message("system", TO_FILTER),
        Message("user", "\n".join([*map(_line, fields.items()), "", question_line(question)])),
    ]
    completion = llm.complete(messages, max_tokens=ANSWER_TOKENS, json_schema=_schema(fields))
    stated = list_of(read_object(completion), "conditions")
    if len(stated) > MOST_CONDITIONS:
        raise _refused(f"states {len(stated)} conditions; {MOST_CONDITIONS} are allowed")
    conditions = [_condition(each, fields) for each in stated]
    return reduce(and_, conditions) if conditions else None


def _line(named: tuple[str, FilterField]) -> str:
    path, of = named
    values = {"values": list(of.values)} if of.values else {}
    return fenced({"field": path, "type": of.kind, "description": of.description, **values})


def _schema(fields: Mapping[str, FilterField]) -> dict[str, Any]:
    kinds = [{"type": kind} for kind in ("string", "number", "boolean")]
    condition = object_schema(
        field={"type": "string", "enum": [*fields]},
        comparison={"type": "string", "enum": [*MATCHED, *ORDERED]},
        values=list_schema({"anyOf": kinds}),
    )
    return object_schema(conditions=list_schema(condition))


def _condition(stated: Any, fields: Mapping[str, FilterField]) -> Condition:
    match stated:
        case {"field": str(path), "comparison": str(comparison), "values": list(given)}:
            pass
        case _:
            raise _refused(f"states {shortened(json.dumps(stated))}, which is no condition")
    if path not in fields:
        raise _refused(f"names the field {shortened(path)}; there are: {', '.join(fields)}")
    if not 1 <= len(given) <= MOST_VALUES:
        raise _refused(f"gives {path} {len(given)} values; allowed 1..{MOST_VALUES}")
    values = [_value(path, fields[path], value) for value in given]
    if comparison in MATCHED:
        equal = field(path).any_of(*values)
        return ~equal if comparison in ("not in", "!=") else equal
    if comparison not in ORDERED or len(values) > 1 or fields[path].kind == "boolean":
        raise _refused(
            f"compares {path} by {shortened(comparison)} with {shortened(json.dumps(given))}"
        )
    (bound,) = values
    assert isinstance(bound, str | float)
    return ORDERED[comparison](field(path), bound)


def _value(path: str, of: FilterField, given: Any) -> str | float | bool:
    value = _of_kind(of.kind, given)
    if value is None or (of.values and value not in of.values):
        allowed = ", ".join(map(repr, of.values)) or f"a {of.kind}"
        raise _refused(f"gives {path} the value {shortened(str(given))}; allowed: {allowed}")
    return value


def _refused(what: str) -> UnreadableAnswer:
    return UnreadableAnswer(f"the model {what}")


def _of_kind(kind: str, given: Any) -> str | float | bool | None:
    """Return a value as the field has it, also where a model writes a number as a string."""
    match kind, given:
        case "boolean", bool(truth):
            return bool(truth)
        case "boolean", "true" | "false":
            return bool(given == "true")
        case "string", str():
            return in_one_line(given)
        case "string", int() | float() if not isinstance(given, bool):
            return json.dumps(given)
        case "number", int() | float() | str() if not isinstance(given, bool):
            return _number(given)
    return None


def _number(given: float | str) -> float | None:
    try:
        number = float(given)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= 2**53 else None
