"""A model folder is served only if it is what its manifest says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finesieve_server.runtime.artifact import (
    BadArtifact,
    Calibration,
    Manifest,
    read_artifact,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"a graph")
    (tmp_path / "tokenizer.json").write_text("{}")
    write_manifest(
        tmp_path,
        Manifest(
            name="m",
            kind="cross-encoder",
            precision="int8",
            max_tokens=512,
            fingerprint="f",
            calibration=Calibration(1.5, -0.5),
            first_stage_weight=0.5,
        ),
    )
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_was_written_is_read(folder: Path) -> None:
    manifest = read_artifact(folder).manifest

    assert manifest.calibration == Calibration(1.5, -0.5)
    assert manifest.first_stage_weight == 0.5
    assert set(manifest.files) == {"model.onnx", "tokenizer.json"}


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_one_changed_byte_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[0] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(BadArtifact, match=f"{name} has SHA-256"):
        read_artifact(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"a gra")

    with pytest.raises(BadArtifact, match="has 5 bytes, its manifest says 7"):
        read_artifact(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()

    with pytest.raises(BadArtifact, match=r"tokenizer\.json is missing"):
        read_artifact(folder)


def test_a_folder_that_is_no_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="finesieve-export convert"):
        read_artifact(tmp_path)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/../../b", "a\\b"])
def test_a_name_that_leads_outside_is_refused(folder: Path, name: str) -> None:
    edit(folder, lambda content: content["files"].update({name: {"sha256": "", "bytes": 0}}))

    with pytest.raises(BadArtifact, match="leads outside the folder"):
        read_artifact(folder)


def test_a_link_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "model.onnx"
    elsewhere.write_bytes((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(elsewhere)

    with pytest.raises(BadArtifact, match="is a link"):
        read_artifact(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("kind", "decoder"),
        ("precision", "int4"),
        ("max_tokens", 0),
        ("max_tokens", "512"),
        ("first_stage_weight", 1.5),
        ("first_stage_weight", "a"),
        ("name", ""),
        ("name", 5),
        ("files", {}),
        ("files", []),
        ("files", {"model.onnx": 5}),
        ("calibration", {"slope": 1}),
        ("calibration", None),
    ],
)
def test_a_manifest_out_of_range_is_refused(folder: Path, field: str, value: object) -> None:
    edit(folder, lambda content: content.update({field: value}))

    with pytest.raises(BadArtifact):
        read_artifact(folder)


@pytest.mark.parametrize("field", ["name", "kind", "precision", "max_tokens", "fingerprint"])
def test_a_manifest_without_a_needed_field_is_refused(folder: Path, field: str) -> None:
    edit(folder, lambda content: content.pop(field))

    with pytest.raises(BadArtifact, match=field):
        read_artifact(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00"])
def test_a_manifest_that_is_not_an_object_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)

    with pytest.raises(BadArtifact):
        read_artifact(folder)
