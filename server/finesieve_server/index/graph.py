"""Find near vectors in an HNSW graph, and keep hnswlib from every harm it does unguarded.

hnswlib reads out of bounds for a wrong dimension, tears when it is changed while it is searched,
keeps one ef for all callers, does not grow, and saves half a file to a full disk without a word.
Nodes are numbered by the caller, each number once. What the vectors mean, and which of them are
wanted, is left to vectors.py.
"""

import os
import time
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finesieve_server.errors import StorageFull
from finesieve_server.index.native import attempted, library
from finesieve_server.index.records import Distance, HnswOptions, Matrix
from finesieve_server.index.shared_lock import SharedLock

Nodes = NDArray[np.int64]

HOLD_S = 0.005  # how long a change may keep searches waiting
MARKS_PER_HOLD = 1_000
QUERIES_PER_HOLD = 32  # some 5 ms
FIRST_CAPACITY = 4_096


class Graph:
    """An HNSW graph over numbered vectors. One thread changes it, any number search it."""

    def __init__(self, handle: int, dimension: int, deleted: int) -> None:
        """Guard a graph that nobody else will touch."""
        self.deleted = deleted
        self._handle = handle
        self._dimension = dimension
        self._lock = SharedLock()
        self._insert_s = 0.001  # a running estimate of one insertion by one thread
        freeing = weakref.finalize(self, library.graph_free, handle)
        freeing.atexit = False  # a thread may still be adding to it when the process ends

    @classmethod
    def empty(cls, dimension: int, distance: Distance, options: HnswOptions) -> "Graph":
        """Make a graph without nodes."""
        handle = library.graph_new(
            distance is Distance.L2, dimension, FIRST_CAPACITY, options.m, options.ef_construction
        )
        return cls(attempted(handle), dimension, 0)

    @classmethod
    def load(
        cls, path: Path, dimension: int, distance: Distance, *, nodes: int, deleted: int
    ) -> "Graph":
        """Read a graph whose file was verified: hnswlib itself crashes on a damaged one."""
        capacity = max(FIRST_CAPACITY, nodes + nodes // 4)
        handle = library.graph_load(distance is Distance.L2, dimension, capacity, os.fsencode(path))
        graph = cls(attempted(handle), dimension, deleted)
        library.graph_use_huge_pages(handle)
        assert graph.nodes == nodes, f"{path} holds {graph.nodes} nodes, not {nodes}"
        return graph

    @property
    def nodes(self) -> int:
        """How many vectors were ever added."""
        return int(library.graph_nodes(self._handle))

    @property
    def live(self) -> int:
        """How many a search may find."""
        return self.nodes - self.deleted

    def add(self, nodes: Nodes, vectors: Matrix, *, threads: int) -> None:
        """Add vectors under new numbers; searches get their turn every few milliseconds."""
        assert vectors.shape == (len(nodes), self._dimension)
        nodes, vectors = np.ascontiguousarray(nodes), np.ascontiguousarray(vectors)
        assert nodes.dtype == np.int64
        assert vectors.dtype == np.float32
        self._grow(self.nodes + len(nodes))
        start = 0
        while start < len(nodes):
            size = max(threads, int(threads * HOLD_S / self._insert_s))
            some, their = nodes[start : start + size], vectors[start : start + size]
            with self._lock.exclusive():
                began_s = time.perf_counter()
                attempted(
                    library.graph_add(
                        self._handle, some.ctypes.data, their.ctypes.data, len(some), threads
                    )
                )
                took_s = time.perf_counter() - began_s
            self._insert_s += 0.2 * (took_s * threads / len(some) - self._insert_s)
            start += len(some)

    def mark_deleted(self, nodes: Nodes) -> None:
        """Keep nodes out of answers; each must be there, and not deleted."""
        nodes = np.ascontiguousarray(nodes, np.int64)
        for start in range(0, len(nodes), MARKS_PER_HOLD):
            some = nodes[start : start + MARKS_PER_HOLD]
            with self._lock.exclusive():
                attempted(library.graph_mark_deleted(self._handle, some.ctypes.data, len(some)))
                self.deleted += len(some)

    def nearest(self, queries: Matrix, candidates: int) -> Nodes:
        """Return the nearest nodes to each query, best first; changes get their turn between some.

        Shape: (queries, candidates), or fewer columns where fewer nodes live. Where the graph does
        not reach so many, -1 stands for each that is lacking.
        """
        assert queries.shape[1:] == (self._dimension,)
        queries = np.ascontiguousarray(queries, np.float32)
        candidates = min(candidates, self.live)
        found = np.empty((len(queries), candidates), np.int64)
        for start in range(0, len(queries), QUERIES_PER_HOLD):
            some, their = queries[start : start + QUERIES_PER_HOLD], found[start:]
            with self._lock.shared():
                attempted(
                    library.graph_nearest(
                        self._handle, some.ctypes.data, len(some), candidates, their.ctypes.data
                    )
                )
        return found

    def save(self, path: Path) -> None:
        """Write the graph to a new file and sync it. Searches go on, changes wait."""
        with self._lock.shared():
            attempted(library.graph_save(self._handle, os.fsencode(path)))
            expected = library.graph_file_bytes(self._handle)
        with path.open("rb") as file:
            # A full disk leaves a short file, and hnswlib says nothing of it.
            if os.fstat(file.fileno()).st_size != expected:
                raise StorageFull(f"no room to write {path.name}")
            os.fsync(file.fileno())

    def _grow(self, needed: int) -> None:
        capacity = int(library.graph_capacity(self._handle))
        if needed > capacity:
            with self._lock.exclusive():
                attempted(
                    library.graph_reserve(self._handle, max(needed, capacity + capacity // 2))
                )
            library.graph_use_huge_pages(self._handle)
