"""The commands, as typed."""

import json
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from finesieve_export.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["finesieve-export", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_a_model_is_converted_verified_and_measured(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cross_encoder_folder: Path,
    tmp_path: Path,
) -> None:
    out = str(tmp_path / "model")
    source = ("--kind", "cross-encoder", "--model", str(cross_encoder_folder))

    converted = run(
        monkeypatch,
        *("convert", *source, "--precision", "int8", "--out", out),
        *("--name", "small", "--license", "mit", "--first-stage-weight", "0.5"),
        *("--max-error", "2", "--min-rank-correlation", "0.9", "--min-overlap", "0.7"),
    )
    told = capsys.readouterr().out
    verified = run(monkeypatch, "verify", out, "--companies", "5")
    seen = capsys.readouterr().out
    measured = run(monkeypatch, "invariance", out, "--companies", "5", "--max-tokens", "64")
    moved = capsys.readouterr().out

    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert (converted, verified, measured) == (0, 0, 0)
    assert (manifest["name"], manifest["license"]) == ("small", "mit")
    assert (manifest["first_stage_weight"], manifest["precision"]) == (0.5, "int8")
    assert manifest["parity"]["tolerance"]["largest_error"] == 2
    assert "tracing to ONNX" in told
    assert "rank correlation" in told
    assert "FAILED" not in seen
    assert moved.startswith("0 of ")


def test_an_error_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = run(
        monkeypatch,
        *("convert", "--kind", "bi-encoder", "--model", "./absent"),
        *("--out", str(tmp_path / "model")),
    )

    told = capsys.readouterr().err
    assert code == 1
    assert "error: no folder ./absent" in told
    assert "Traceback" not in told


def test_a_folder_without_a_manifest_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "verify", str(tmp_path)) == 1
    assert "has no manifest.json" in capsys.readouterr().err


def test_brackets_in_an_error_are_told_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(monkeypatch, "verify", str(tmp_path / "[red]"))

    assert "[red]: has no manifest.json" in capsys.readouterr().err


def test_the_advice_for_missing_torch_names_the_extras(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "finesieve_export.convert", None)
    source = ("--kind", "bi-encoder", "--model", "./absent")

    code = run(monkeypatch, "convert", *source, "--out", str(tmp_path / "model"))

    assert code == 1
    assert "pip install 'finesieve[server,export]'" in capsys.readouterr().err


def test_the_help_says_where_a_default_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "convert", "--help")

    words = capsys.readouterr().out.replace("│", " ").split()
    assert "(default: the model's)" in " ".join(words)


def test_a_licence_that_is_not_known_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cross_encoder_folder: Path,
    tmp_path: Path,
) -> None:
    source = ("--kind", "cross-encoder", "--model", str(cross_encoder_folder))

    code = run(
        monkeypatch, "convert", *source, "--precision", "fp32", "--out", str(tmp_path / "model")
    )

    assert code == 0
    assert "its licence is not known" in capsys.readouterr().out


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_a_card_that_is_not_there_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = run(monkeypatch, "verify", str(tmp_path), "--device", "cuda")

    told = capsys.readouterr().err
    assert code == 1
    assert told.startswith("error: this onnxruntime is built without CUDA")
    assert told.count("\n") == 1


def test_what_was_fused_for_gpus_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cross_encoder_folder: Path,
    tmp_path: Path,
) -> None:
    code = run(
        monkeypatch,
        *("convert", "--kind", "cross-encoder", "--model", str(cross_encoder_folder)),
        *("--precision", "fp16", "--out", str(tmp_path / "model")),
    )

    told = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert "2 Attention" in told
    assert "against its source, on cpu" in told
