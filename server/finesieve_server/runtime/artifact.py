"""Read and verify a model folder; say what a manifest holds. Loads no model."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from finesieve_server.runtime.query_template import QueryTemplate

MANIFEST = "manifest.json"
FORMAT = 1
_PRECISIONS = ("fp32", "fp16", "int8")

Kind = Literal["bi-encoder", "cross-encoder"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Precision = Literal["fp32", "fp16", "int8"]


class BadArtifact(Exception):
    """A model folder that must not be served, and why."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(f"model folder {folder}: {problem}")


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What a file must be: SHA-256 in hex, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = sigmoid(scale * logit + offset)."""

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a model: everything the server needs besides the graph and the tokenizer."""

    name: str
    kind: Kind
    precision: Precision
    max_tokens: int
    # Digest of all that an embedding depends on but the precision: weights, configuration, window,
    # tokenizer, pooling and prefixes.
    fingerprint: str
    source: str = ""
    source_revision: str = ""
    license: str = ""
    # Bi-encoders.
    dimension: int = 0
    pooling: str = ""
    normalized: bool = False
    query_prefix: str = ""
    # Both kinds.
    passage_prefix: str = ""
    # Cross-encoders.
    query_template: str = ""
    default_instruction: str = ""
    activation: Literal["sigmoid", "identity"] = "sigmoid"
    calibration: Calibration = Calibration()
    first_stage_weight: float = 0.0
    # Operators that the export fused for GPUs, and how many of each.
    fused: Mapping[str, int] = field(default_factory=dict)
    # What the export measured against the source model.
    parity: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model folder whose every file is what its manifest says."""

    folder: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def tokenizer_path(self) -> Path:
        return self.folder / "tokenizer.json"


def read_artifact(folder: Path) -> Artifact:
    """Return the folder's artifact, every digest checked. Raises BadArtifact with the reason."""
    manifest = _parse(folder, _load_json(folder))
    for name in ("model.onnx", "tokenizer.json"):
        if name not in manifest.files:
            raise BadArtifact(folder, f"its manifest lists no {name}")
    for name, expected in manifest.files.items():
        _verify_file(folder, name, expected)
    return Artifact(folder, manifest)


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Digest every file of the folder into the manifest, write it, and return it."""
    files = {
        path.relative_to(folder).as_posix(): FileDigest(file_sha256(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    complete = replace(manifest, files=files)
    text = json.dumps(asdict(complete), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return complete


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_json(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadArtifact(
            folder, f"has no {MANIFEST}; make one with `finesieve-export convert`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadArtifact(folder, f"{MANIFEST} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise BadArtifact(folder, f"{MANIFEST} is not a JSON object")
    return content


def _parse(folder: Path, content: dict[str, Any]) -> Manifest:
    if content.get("format") != FORMAT:
        raise BadArtifact(
            folder, f"manifest format {content.get('format')!r}; this version reads {FORMAT}"
        )
    known = {each.name for each in fields(Manifest)}
    values = {key: value for key, value in content.items() if key in known}
    try:
        values["files"] = {
            name: FileDigest(str(each["sha256"]), int(each["bytes"]))
            for name, each in values.get("files", {}).items()
        }
        values["calibration"] = Calibration(**values.get("calibration", {}))
        manifest = Manifest(**values)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadArtifact(folder, f"{MANIFEST} is incomplete: {error}") from None
    _check(folder, manifest)
    return manifest


def _check(folder: Path, manifest: Manifest) -> None:
    whole_numbers = (manifest.max_tokens, manifest.dimension)
    texts = (
        manifest.name,
        manifest.fingerprint,
        manifest.query_prefix,
        manifest.passage_prefix,
        manifest.query_template,
        manifest.default_instruction,
    )
    numbers = (
        manifest.first_stage_weight,
        manifest.calibration.scale,
        manifest.calibration.offset,
    )
    problems = {
        f"kind {manifest.kind!r}; allowed {KINDS}": manifest.kind not in KINDS,
        f"precision {manifest.precision!r}; allowed {_PRECISIONS}": manifest.precision
        not in _PRECISIONS,
        "a text field is not a text": not all(isinstance(each, str) for each in texts),
        "a number field is not a number": not all(
            isinstance(each, int | float) for each in numbers
        ),
        "max_tokens or dimension is not a whole number": not all(
            type(each) is int for each in whole_numbers
        ),
        "the name is empty": not manifest.name,
        "fused is not an object": not isinstance(manifest.fused, Mapping),
    }
    for problem, found in problems.items():
        if found:
            raise BadArtifact(folder, f"{MANIFEST}: {problem}")
    if manifest.kind == "bi-encoder" and manifest.query_template:
        raise BadArtifact(folder, "query_template is for cross-encoders; see query_prefix")
    try:
        QueryTemplate(manifest.query_template, manifest.default_instruction)
    except ValueError as error:
        raise BadArtifact(folder, f"{MANIFEST}: {error}") from None
    if not 8 <= manifest.max_tokens <= 131_072:
        raise BadArtifact(folder, f"max_tokens is {manifest.max_tokens}; allowed 8..131072")
    if manifest.kind == "bi-encoder" and not 1 <= manifest.dimension <= 65_536:
        raise BadArtifact(folder, f"dimension is {manifest.dimension}; allowed 1..65536")
    if not 0 <= manifest.first_stage_weight <= 1:
        raise BadArtifact(
            folder, f"first_stage_weight is {manifest.first_stage_weight}; allowed 0..1"
        )


def _verify_file(folder: Path, name: str, expected: FileDigest) -> None:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise BadArtifact(folder, f"{name!r} leads outside the folder")
    path = folder.joinpath(*relative.parts)
    if any(each.is_symlink() for each in (path, *path.parents) if folder in each.parents):
        raise BadArtifact(folder, f"{name} is a link")
    if not path.is_file():
        raise BadArtifact(folder, f"{name} is missing")
    size = path.stat().st_size
    if size != expected.bytes:
        raise BadArtifact(folder, f"{name} has {size} bytes, its manifest says {expected.bytes}")
    digest = file_sha256(path)
    if digest != expected.sha256:
        raise BadArtifact(
            folder, f"{name} has SHA-256 {digest}, its manifest says {expected.sha256}"
        )
