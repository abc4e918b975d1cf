"""Bring one checkpoint into the forms that the peers read: fp32, ONNX fp32, ONNX int8.

All of them come from the same weights by the peers' own tools (sentence-transformers' export and
its dynamic int8 for this processor), so that every engine does the same work.
"""

import hashlib
import subprocess
import tempfile
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
    for path in sorted(source.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    folder = FOLDER / "checkpoints" / digest.hexdigest()[:12]
    if not folder.exists():
        print(f"Converting {source} to ONNX", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Under its name there is a whole conversion or none.
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            draft = Path(place) / folder.name
            draft.mkdir()
            _convert(source, draft, environment)
            draft.rename(folder)
    return {precision: folder / precision for precision in ("fp32", "int8")}


def _convert(source: Path, folder: Path, environment: Environment) -> None:
    command = [str(environment.bin / "python"), str(EXPORT), str(source)]
    command += [str(folder / "fp32"), str(folder / "int8"), _instructions()]
    export = subprocess.run(command, capture_output=True, text=True, check=False, env=offline())
    if export.returncode != 0:
        raise Unavailable(f"the checkpoint could not be converted: {last_line(export.stderr)}")


def _instructions() -> str:
    flags = Path("/proc/cpuinfo").read_text().split()
    found = next((each for each in INSTRUCTIONS if each in flags), "arm64")
    return found.removesuffix("f")
