"""Make a peer its own virtual environment under .bench, once, at pinned versions."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.peer import THREADS, Unavailable

FOLDER = Path(__file__).parents[2] / ".bench"


@dataclass(frozen=True, slots=True)
class Environment:
    """Packages at versions that were seen to install and start together."""

    name: str
    requirements: Sequence[str]

    @property
    def bin(self) -> Path:
        return FOLDER / self.name / "bin"

    def install(self) -> None:
        """Make the environment unless it is there; raises Unavailable with pip's own reason."""
        stamp = FOLDER / self.name / "requirements.txt"
        wanted = "\n".join(self.requirements) + "\n"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"Installing {wanted.split()[0]} into {self.bin.parent}", flush=True)
        started = time.monotonic()
        self._run(sys.executable, "-m", "venv", "--clear", str(self.bin.parent))
        self._run(str(self.bin / "python"), "-m", "pip", "install", "--quiet", *self.requirements)
        stamp.write_text(wanted)
        print(f"Installed in {time.monotonic() - started:.0f} s")

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"could not be installed: {last_line(done.stderr)}")


def offline() -> dict[str, str]:
    """Return the variables of a peer's process: all cores, nothing from the network or from us."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "DO_NOT_TRACK": "1",
        "HF_HOME": str(FOLDER / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(THREADS),
        "PYTHONSAFEPATH": "1",  # our adapters beside the script are named as the packages
    }


def last_line(text: str) -> str:
    """Return the last line that says something: where a traceback or pip names the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
