"""Read the small files beside a model's weights: JSON settings, and the licence of its card.

Knows nothing of what a setting means.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finesieve_export.errors import BadCheckpoint


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, or None where there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{path} cannot be read: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one where there is no file."""
    content = read_json(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{path} is not a JSON object")
    return content


def read_number(path: Path, settings: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number of a file's settings, or None where it is not set."""
    number = settings.get(key)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BadCheckpoint(f"{path}: {key} is {number!r}; it should be a number")
    try:
        return int(number)
    except (ValueError, OverflowError):  # JSON as Python reads it has NaN and Infinity.
        raise BadCheckpoint(f"{path}: {key} is {number!r}; it should be a number") from None


def read_license(card: Path) -> str:
    """Return the licence a model card names, several joined by commas; empty where none is."""
    import yaml  # type: ignore[import-untyped]  # comes with transformers

    if not card.is_file():
        return ""
    lines = card.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        return ""
    try:
        header = yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))
    except yaml.YAMLError as error:
        raise BadCheckpoint(
            f"{card}: its header cannot be read ({error}); give --license"
        ) from error
    named = header.get("license") if isinstance(header, dict) else None
    every = named if isinstance(named, list) else [named]
    return ", ".join(str(each) for each in every if each)
