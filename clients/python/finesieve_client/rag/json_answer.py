"""Make sense of a language model's answer that should be JSON.

Endpoints differ: one keeps to the schema, one puts the JSON into a fence, one talks around it.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

from finesieve_client.rag.completion import Completion, LlmError

# A model that reasons spends some of its limit before the first character of the answer.
THINKING_TOKENS = 4_000
SHOWN_CHARACTERS = 80
MOST_BEGINNINGS = 16  # "{" that are tried, so that a model which repeats itself costs little


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class UnreadableAnswer(LlmError):
    """An answer that came, and does not say what was asked for."""


def read_object(completion: Completion) -> dict[str, Any]:
    """Return the first JSON object in an answer, whatever stands around it.

    It need not meet the schema that was asked for. Raises UnreadableAnswer where there is none.
    """
    if completion.refusal:
        raise UnreadableAnswer(f"the model refused: {shortened(completion.refusal)}")
    found = _find_object(completion.text)
    if found is None:
        cut = " and was cut at its limit of tokens" if completion.finish_reason == "length" else ""
        raise UnreadableAnswer(f"the model's answer is not JSON{cut}: {shortened(completion.text)}")
    return found


def list_of(answer: Mapping[str, Any], name: str) -> list[Any]:
    """Return a field that must be a list; raises UnreadableAnswer."""
    value = answer.get(name)
    if not isinstance(value, list):
        said = shortened(json.dumps(answer))
        raise UnreadableAnswer(f"the model's answer has no list {name!r}: {said}")
    return value


def in_one_line(text: str) -> str:
    """Return a model's text as one line of composed characters, without control characters."""
    whole = text.encode("utf-8", "replace").decode("utf-8")  # JSON can write half a surrogate pair
    return " ".join(_CONTROL.sub(" ", unicodedata.normalize("NFC", whole)).split())


def shortened(text: str) -> str:
    """Return as much of a text as an error shows."""
    line = in_one_line(text[: 4 * SHOWN_CHARACTERS])
    return repr(line if len(line) <= SHOWN_CHARACTERS else line[:SHOWN_CHARACTERS] + "…")


def object_schema(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object with exactly these properties, as strict endpoints want it."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def list_schema(of: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": dict(of)}


def _find_object(text: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    at = text.find("{")
    for _ in range(MOST_BEGINNINGS):
        if at < 0:
            break
        try:
            value, _ = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        assert isinstance(value, dict)
        return value
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
