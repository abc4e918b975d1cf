"""A folder is re-checked without torch, and a flipped bit is seen."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finesieve_export.convert import convert
from finesieve_export.errors import ExportError
from finesieve_export.verify import verify
from finesieve_server.runtime.artifact import Artifact, BadArtifact, read_artifact, write_manifest
from tests.export.checkpoints import say_nothing
from tests.export.conftest import MakeRequest


@pytest.fixture(scope="module")
def artifact(cross_encoder_folder: Path, make_request: MakeRequest) -> Artifact:
    return convert(make_request(cross_encoder_folder, "cross-encoder", "fp32"), say_nothing)


@pytest.fixture
def folder(artifact: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact.folder, tmp_path / "model"))


def test_a_fresh_folder_passes_every_check(folder: Path) -> None:
    checks = list(verify(folder, companies=5, threads=1))

    assert [check.name for check in checks if not check.passed] == []
    assert {"digests", "finite output", "same score in company"} <= {each.name for each in checks}


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_flipped_bit_is_seen(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(BadArtifact, match=f"{name} has SHA-256"):
        list(verify(folder, companies=5, threads=1))


def test_a_manifest_that_promises_another_shape_fails(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"kind": "bi-encoder", "dimension": 7, "pooling": "mean"}
    (folder / "manifest.json").write_text(json.dumps(manifest))

    failed = [check.name for check in verify(folder, companies=5, threads=1) if not check.passed]

    assert "output shape" in failed


def test_a_model_that_onnxruntime_cannot_load_is_named(folder: Path) -> None:
    manifest = read_artifact(folder).manifest
    (folder / "model.onnx").write_bytes(b"not a model")
    write_manifest(folder, manifest)

    with pytest.raises(BadArtifact, match=r"cannot load model\.onnx"):
        list(verify(folder, companies=5, threads=1))


def edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_a_window_beyond_the_models_positions_is_seen(folder: Path) -> None:
    edit_manifest(folder, max_tokens=500)

    with pytest.raises(ExportError, match="does not run as a cross-encoder of up to 500 tokens"):
        list(verify(folder, companies=5, threads=1))


def test_a_report_that_misses_its_own_tolerance_or_lacks_figures_fails(folder: Path) -> None:
    report = dict(read_artifact(folder).manifest.parity)

    edit_manifest(folder, parity={**report, "rank_correlation": 0.5})
    *_, strayed = verify(folder, companies=2, threads=1)
    edit_manifest(folder, parity={"largest_error": 0.1, "tolerance": report["tolerance"]})
    *_, partial = verify(folder, companies=2, threads=1)

    assert not strayed.passed
    assert "rank correlation 0.50000, required" in strayed.seen
    assert not partial.passed
    assert "the report's text is None" in partial.seen


def test_a_file_that_is_no_tokenizer_is_named(folder: Path) -> None:
    manifest = read_artifact(folder).manifest
    (folder / "tokenizer.json").write_text("{}")
    write_manifest(folder, manifest)

    with pytest.raises(BadArtifact, match=r"tokenizer\.json cannot be read"):
        list(verify(folder, companies=5, threads=1))


def test_verifying_and_measuring_import_no_torch(folder: Path) -> None:
    script = (
        "import sys; from finesieve_export.cli import app\n"
        f"for command in (['verify', {str(folder)!r}], ['invariance', {str(folder)!r}]):\n"
        "    app([*command, '--companies', '2'], standalone_mode=False)\n"
        "assert not {'torch', 'transformers', 'optimum', 'onnx'} & sys.modules.keys()\n"
    )

    finished = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )

    assert finished.returncode == 0, finished.stderr
    assert "same score in company" in finished.stdout
