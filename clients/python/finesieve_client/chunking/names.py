"""Name documents after their paths, and passages after their documents."""

import hashlib
import os
import re
from pathlib import Path

_MAX_BYTES = 230  # of a document's id; the contract has 256 for a passage's, with its number
_DIGEST = 12
_NOT_IN_IDS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def document_id_of(path: Path) -> str:
    """Return the path from the working folder, or of what lies outside of it the whole path.

    "./docs/a.md" and "docs/a.md" are "docs/a.md", and "../a.md" in "/srv/docs" is "/srv/a.md".
    A path that is too long, or has characters that an id may not have, keeps its end and gets a
    digest of the whole.
    """
    here = Path.cwd()
    whole = Path(os.path.normpath(here / path))
    name = (whole.relative_to(here) if whole.is_relative_to(here) else whole).as_posix()
    readable = _NOT_IN_IDS.sub("_", name)
    if readable == name and len(name.encode()) <= _MAX_BYTES:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    end = readable.encode()[-(_MAX_BYTES - _DIGEST - 1) :].decode("utf-8", "ignore")
    return f"{digest}~{end}"


def shown(path: Path | str) -> str:
    """Return a path, or a part of one, as text: what is no character becomes a question mark."""
    return str(path).encode("utf-8", "replace").decode()


def passage_id(document_id: str, level: int, number: int) -> str:
    """Return the id of a leaf, "guide.md#7", or of a parent, "guide.md#1.7"."""
    return f"{document_id}#{level}.{number}" if level else f"{document_id}#{number}"
