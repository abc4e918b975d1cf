"""Bring one checkpoint into the forms that the peers read: fp32, ONNX fp32, ONNX int8.

All of them come from the same weights by the peers' own tools (sentence-transformers' export and
its dynamic int8 for this processor), so that every engine does the same work.
"""

import hashlib
import subprocess
from pathlib import Path

from benchmarks.peers.environment import FOLDER, Environment, last_line, offline
from benchmarks.peers.peer import Unavailable

EXPORT = Path(__file__).with_name("sentence_transformers_export.py")
# What dynamic int8 can be made for, best first.
INSTRUCTIONS = ("avx512_vnni", "avx512f", "avx2")


def prepare(source: Path, environment: Environment) -> dict[str, Path]:
    """Return a local checkpoint's folders by precision, made once.

    "fp32" holds the weights and onnx/model.onnx, "int8" onnx/model_quantized.onnx alone.
    Raises Unavailable where that fails.
    """
    digest = hashlib.sha256()
    for path in sorted(source.glob("*")):
        digest.update(path.read_bytes())
    folder = FOLDER / "checkpoints" / digest.hexdigest()[:12]
    forms = {"fp32": folder / "fp32", "int8": folder / "int8"}
    done = folder / "done"
    if not done.exists():
        print(f"Converting {source} to ONNX", flush=True)
        command = [str(environment.bin / "python"), str(EXPORT), str(source)]
        command += [str(forms["fp32"]), str(forms["int8"]), _instructions()]
        export = subprocess.run(command, capture_output=True, text=True, check=False, env=offline())
        if export.returncode != 0:
            raise Unavailable(f"the checkpoint could not be converted: {last_line(export.stderr)}")
        done.touch()
    return forms


def _instructions() -> str:
    flags = Path("/proc/cpuinfo").read_text().split()
    found = next((each for each in INSTRUCTIONS if each in flags), "arm64")
    return found.removesuffix("f")
