"""The limit: hnswlib itself, in process, over the same vectors and with every core."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peer import THREADS
from benchmarks.retrieval.messages import TOP_K
from finesieve_server.index.records import HnswOptions

Matrix = NDArray[np.float32]

OPTIONS = HnswOptions()  # the server's own defaults


@dataclass(frozen=True, slots=True)
class Built:
    """A graph, and how long its vectors took."""

    index: hnswlib.Index
    seconds: float
    cpu_s: float


def build(vectors: Matrix) -> Built:
    """Make a graph of these vectors, all added at once."""
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=OPTIONS.m, ef_construction=OPTIONS.ef_construction)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    index.add_items(vectors, np.arange(len(vectors)), num_threads=THREADS)
    return Built(index, time.perf_counter() - began_s, time.process_time() - cpu_s)


def load(path: Path, dimension: int) -> hnswlib.Index:
    """Read a graph that the server saved."""
    index = hnswlib.Index("ip", dimension)
    index.load_index(str(path))
    return index


def batch(index: hnswlib.Index, vectors: Matrix, ef_search: int) -> tuple[list[list[int]], float]:
    """Return what each query finds, and how long all took together."""
    index.set_ef(ef_search)
    began_s = time.perf_counter()
    found, _ = index.knn_query(vectors, k=TOP_K, num_threads=THREADS)
    return found.tolist(), time.perf_counter() - began_s


def single_s(index: hnswlib.Index, vectors: Matrix, ef_search: int) -> list[float]:
    """Return how long each query took, asked one after the other."""
    index.set_ef(ef_search)
    took_s = []
    for vector in vectors:
        began_s = time.perf_counter()
        index.knn_query(vector, k=TOP_K, num_threads=1)
        took_s.append(time.perf_counter() - began_s)
    return took_s


def truth(vectors: Matrix, queries: Matrix) -> list[list[int]]:
    """Return per query the nearest of all vectors, by comparing them all."""
    best_scores = np.empty((len(queries), 0), np.float32)
    best = np.empty((len(queries), 0), np.int64)
    for first in range(0, len(vectors), 50_000):
        scores = queries @ np.asarray(vectors[first : first + 50_000]).T
        near = np.argpartition(-scores, min(TOP_K, scores.shape[1]) - 1, axis=1)[:, :TOP_K]
        best = np.hstack([best, near + first])
        best_scores = np.hstack([best_scores, np.take_along_axis(scores, near, 1)])
        order = np.argsort(-best_scores, axis=1)[:, :TOP_K]
        best = np.take_along_axis(best, order, 1)
        best_scores = np.take_along_axis(best_scores, order, 1)
    return best.tolist()


def recall(found: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]) -> float:
    """Return which share of the true neighbours was found."""
    hits = sum(len(set(some) & set(all_)) for some, all_ in zip(found, truth, strict=True))
    return hits / max(1, sum(map(len, truth)))
