"""Name the files of a snapshot, with their sizes and SHA-256, in a file that is whole or absent."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

MANIFEST = "index.json"


class BadSnapshot(Exception):
    """There is no snapshot that can be trusted; the text says why."""


@dataclass(frozen=True, slots=True)
class SavedFile:
    name: str
    bytes: int  # a longer file is well: vectors are appended after the snapshot
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot was made of, and what its files hold."""

    format: int
    uid: str
    generation: int
    library: str
    dimension: int
    distance: str
    m: int
    ef_construction: int
    fingerprint: str
    slots: int
    nodes: int
    deleted: int
    files: Mapping[str, SavedFile]  # graph, slots, vectors


def read_manifest(folder: Path) -> Manifest:
    """Return the newest manifest. Raises BadSnapshot."""
    try:
        outer = json.loads((folder / MANIFEST).read_text())
        body = outer["manifest"]
        if hashlib.sha256(body.encode()).hexdigest() != outer["sha256"]:
            raise BadSnapshot("the manifest is damaged")
        fields = json.loads(body)
        fields["files"] = {kind: SavedFile(**file) for kind, file in fields["files"].items()}
        return Manifest(**fields)
    except FileNotFoundError:
        raise BadSnapshot("there is none") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadSnapshot(f"the manifest cannot be read: {error}") from error


def replace_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in the place of the one before, durably."""
    body = json.dumps(asdict(manifest), sort_keys=True)
    text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "manifest": body})
    new = folder / f"{MANIFEST}.new"
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(folder / MANIFEST)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
