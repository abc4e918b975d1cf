"""Find near vectors in an HNSW graph, and keep hnswlib from every harm it does unguarded.

hnswlib reads out of bounds for a wrong dimension, tears when it is changed while it is searched,
raises rather than answer with fewer than k, keeps one ef for all callers, does not grow, and saves
half a file to a full disk without a word. Nodes are numbered by the caller, each number once.
What the vectors mean, and which of them are wanted, is left to vectors.py.
"""

import os
import time
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from finesieve_server.errors import StorageFull
from finesieve_server.index.records import Distance, HnswOptions, Matrix
from finesieve_server.index.shared_lock import SharedLock

Nodes = NDArray[np.int64]

HOLD_S = 0.005  # how long a change may keep searches waiting
MARKS_PER_HOLD = 1_000
FIRST_CAPACITY = 4_096
MAX_SHORT_ANSWERS = 100

_SPACES = {Distance.COSINE: "ip", Distance.DOT: "ip", Distance.L2: "l2"}


class GraphShort(Exception):
    """The graph reaches fewer nodes than were asked for; an exact search is needed."""


class Graph:
    """An HNSW graph over numbered vectors. One thread changes it, any number search it."""

    def __init__(self, index: hnswlib.Index, deleted: int) -> None:
        """Guard an index that nobody else will touch."""
        # hnswlib searches with max(ef, k) candidates. One ef belongs to all callers at once, so
        # ours stays at 1 and every search asks for as many answers as it wants candidates.
        index.set_ef(1)
        self.deleted = deleted
        self._index = index
        self._lock = SharedLock()
        self._insert_s = 0.001  # a running estimate of one insertion by one thread
        self._short_answers = 0

    @classmethod
    def empty(cls, dimension: int, distance: Distance, options: HnswOptions) -> "Graph":
        """Make a graph without nodes."""
        index = hnswlib.Index(_SPACES[distance], dimension)
        index.init_index(FIRST_CAPACITY, M=options.m, ef_construction=options.ef_construction)
        return cls(index, 0)

    @classmethod
    def load(
        cls, path: Path, dimension: int, distance: Distance, *, nodes: int, deleted: int
    ) -> "Graph":
        """Read a graph whose file was verified: hnswlib itself crashes on a damaged one."""
        index = hnswlib.Index(_SPACES[distance], dimension)
        index.load_index(str(path), max_elements=max(FIRST_CAPACITY, nodes + nodes // 4))
        graph = cls(index, deleted)
        assert graph.nodes == nodes, f"{path} holds {graph.nodes} nodes, not {nodes}"
        return graph

    @property
    def nodes(self) -> int:
        """How many vectors were ever added."""
        return int(self._index.get_current_count())

    @property
    def live(self) -> int:
        """How many a search may find."""
        return self.nodes - self.deleted

    @property
    def usable(self) -> bool:
        """Whether to ask at all: hnswlib leaks the buffers of an answer that falls short."""
        return self._short_answers < MAX_SHORT_ANSWERS

    def add(self, nodes: Nodes, vectors: Matrix, *, threads: int) -> None:
        """Add vectors under new numbers; searches get their turn every few milliseconds."""
        assert vectors.shape == (len(nodes), self._index.dim)
        self._grow(self.nodes + len(nodes))
        start = 0
        while start < len(nodes):
            # hnswlib uses one thread for up to four vectors each.
            size = max(4 * threads + 1, int(threads * HOLD_S / self._insert_s))
            stop = min(len(nodes), start + size)
            busy = threads if stop - start > 4 * threads else 1
            with self._lock.exclusive():
                began_s = time.perf_counter()
                self._index.add_items(vectors[start:stop], nodes[start:stop], num_threads=busy)
                took_s = time.perf_counter() - began_s
            self._insert_s += 0.2 * (took_s * busy / (stop - start) - self._insert_s)
            start = stop

    def mark_deleted(self, nodes: Nodes) -> None:
        """Keep nodes out of answers; each must be there, and not deleted."""
        for start in range(0, len(nodes), MARKS_PER_HOLD):
            with self._lock.exclusive():
                for node in nodes[start : start + MARKS_PER_HOLD].tolist():
                    self._index.mark_deleted(node)
                    self.deleted += 1

    def nearest(self, queries: Matrix, candidates: int) -> Nodes:
        """Return the nearest nodes to each query, best first. Few queries: changes wait for them.

        Shape: (queries, candidates), or fewer columns where fewer nodes live.
        Raises GraphShort where hnswlib does not reach as many.
        """
        assert queries.shape[1:] == (self._index.dim,)
        with self._lock.shared():
            candidates = min(candidates, self.live)
            if not candidates:
                return np.empty((len(queries), 0), np.int64)
            try:
                found, _ = self._index.knn_query(queries, k=candidates, num_threads=1)
            except RuntimeError as error:
                self._short_answers += 1
                raise GraphShort(str(error)) from error
        return np.asarray(found, np.int64)

    def save(self, path: Path) -> None:
        """Write the graph to a new file and sync it. Searches go on, changes wait."""
        with self._lock.shared():
            self._index.save_index(str(path))
            expected = self._index.index_file_size()
        with path.open("rb") as file:
            # A full disk leaves a short file, and save_index returns as if all were well.
            if os.fstat(file.fileno()).st_size != expected:
                raise StorageFull(f"no room to write {path.name}")
            os.fsync(file.fileno())

    def _grow(self, needed: int) -> None:
        capacity = int(self._index.get_max_elements())
        if needed > capacity:
            with self._lock.exclusive():
                self._index.resize_index(max(needed, capacity + capacity // 2))
