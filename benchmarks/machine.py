"""Say what a measurement was made on."""

import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import onnxruntime

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks"


def describe() -> list[tuple[str, str]]:
    """Return (what, which) rows: processor, cores, versions, the commit and the command line."""
    return [
        ("processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores"),
        ("Python", platform.python_version()),
        ("onnxruntime", onnxruntime.__version__),  # of either distribution
        *((name, metadata.version(name)) for name in ("tokenizers", "grpcio")),
        ("commit", _commit()),
        ("command", f"`{_command()}`"),
    ]


def dated_path(name: str, folder: Path = RESULTS) -> Path:
    """Return docs/benchmarks/<date>-<name>, its folder made."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{datetime.now(UTC):%Y-%m-%d}-{name}"


def write_report(name: str, report: str, folder: Path = RESULTS) -> None:
    """Keep a report as docs/benchmarks/<date>-<name>.md."""
    path = dated_path(f"{name}.md", folder)
    path.write_text(report + "\n", encoding="utf-8")
    print(f"written to {path}")


def peak_memory_mib(pid: int) -> float:
    """Return the largest resident size that a process has had so far, in MiB."""
    return _status_kib(pid, "VmHWM") / 1024


def anonymous_bytes(pid: int) -> int:
    """Return the resident memory of a process that is no file's."""
    return _status_kib(pid, "RssAnon") * 1024


def _status_kib(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _command() -> str:
    """Return what was typed, of absolute paths the last part: the rest is this machine's."""
    words = [re.sub(r"(?<![^=,])/[^,]*/(?=[^,/])", "", each) for each in sys.orig_argv[1:]]
    return shlex.join(["python", *words])


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
