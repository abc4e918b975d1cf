"""Ask faiss's HNSW index, in an environment and a process of its own."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers.environment import Environment, last_line, offline
from benchmarks.peers.peer import THREADS, Unavailable
from benchmarks.retrieval import bare
from benchmarks.retrieval.messages import TOP_K
from benchmarks.retrieval.results import Curve

ENVIRONMENT = Environment("faiss", ("faiss-cpu==1.15.1", "numpy==2.4.6"))
WORKER = Path(__file__).with_name("faiss_worker.py")
LIMIT_S = 1_200.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What faiss did."""

    build_s: float
    curve: Curve


def measure(
    vectors: bare.Matrix,
    queries: bare.Matrix,
    truth: Sequence[Sequence[int]],
    ef_search: Sequence[int],
) -> Measured:
    """Build with the server's defaults, then ask. Raises Unavailable where it cannot be had."""
    ENVIRONMENT.install()
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", vectors)
        np.save(Path(folder) / "queries.npy", queries)
        options = [bare.OPTIONS.m, bare.OPTIONS.ef_construction, TOP_K, THREADS, *ef_search]
        done = subprocess.run(
            [ENVIRONMENT.bin / "python", WORKER, folder, *map(str, options)],
            capture_output=True,
            text=True,
            check=False,
            env=offline(),
            timeout=LIMIT_S,
        )
    if done.returncode != 0:
        raise Unavailable(last_line(done.stderr))
    answer = json.loads(done.stdout)
    curve = Curve()
    for ef, found, seconds in zip(ef_search, answer["found"], answer["seconds"], strict=True):
        curve.add(ef, bare.recall(found, truth), len(queries) / seconds)
    return Measured(answer["build_s"], curve)
