"""Hold the vectors of one collection by slot, and find the nearest: in a graph and exactly.

Vectors are appended to a memory-mapped file, in the order of their labels; a slot never
changes its vector. Slots below `graphed` are in the graph, those beyond are searched exactly,
so that a vector is found as soon as it is published. Everything here is made from the store.
"""

import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.distances import Scores, products, scores_of
from finesieve_server.index.graph import Graph, GraphShort, Matrix
from finesieve_server.index.records import Distance, HnswOptions

Slots = NDArray[np.int64]
Labels = NDArray[np.int64]

GRAPH_FROM = (
    2_000  # vectors; below, an exact search takes less time than the graph's memory is worth
)
GROW_ROWS = 4_096
BLOCK_ROWS = 16_384  # of one matrix product
SPARE = 8  # kept beyond the count where fast scores choose: their last bits may err
GRAPH_STEP = 256  # vectors handed to the graph at a time
BULK_BEHIND = 512  # a longer tail means a bulk load: use every core


class Vectors:
    """One writer at a time stages and publishes, one thread advances the graph, many search."""

    def __init__(
        self, path: Path, dimension: int, distance: Distance, options: HnswOptions
    ) -> None:
        """Open an empty file at `path`, over whatever was there."""
        self.path = path
        self.dimension = dimension
        self.distance = distance
        self.options = options
        self.graph: Graph | None = None
        self.graphed = 0
        self.count = 0  # published slots
        self.live_count = 0
        self.removals = 0  # times that something was hidden
        self.changes = 0  # vectors added and removed since the last snapshot
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._labels: Labels = np.empty(0, np.int64)
        self._live: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._matrix: Matrix = np.empty((0, dimension), np.float32)
        self._unmarked: list[int] = []  # graphed slots that died and are not yet marked so
        self._guard = threading.Lock()  # over live, unmarked, graphed: held for microseconds

    def adopt(self, labels: Labels, live: NDArray[np.bool_], graph: Graph | None) -> None:
        """Take over the file's first slots as they are, and the graph that holds the live ones."""
        assert self.count == 0
        self._reserve(len(labels))
        self._labels[: len(labels)] = labels
        self._live[: len(live)] = live
        self.count = len(labels)
        self.live_count = int(live.sum())
        self.graph = graph
        self.graphed = self.count if graph is not None else 0

    # --- writing

    def stage(self, labels: Labels, vectors: Matrix) -> None:
        """Write vectors beyond the published ones; nobody sees them yet. May raise OSError."""
        self._reserve(self.count + len(labels))
        # pwrite, not the map: on a full disk a write through a map kills the process.
        data = memoryview(np.ascontiguousarray(vectors, np.float32)).cast("B")
        offset = self.count * self.dimension * 4
        while data:
            written = os.pwrite(self._file, data, offset)
            data, offset = data[written:], offset + written
        self._labels[self.count : self.count + len(labels)] = labels
        self._live[self.count : self.count + len(labels)] = True

    def publish(self, added: int, removed: Labels) -> None:
        """Show the staged vectors and hide the removed ones, at once."""
        slots = self.slots_of(removed)
        with self._guard:
            slots = slots[self._live[slots]]
            self._live[slots] = False
            self._unmarked.extend(slots[slots < self.graphed].tolist())
            self.live_count += added - len(slots)
            self.changes += added + len(slots)
            self.removals += bool(len(removed))
            self.count += added

    def advance(self, threads: int) -> bool:
        """Bring the graph one step nearer to the published vectors; True while more is to do."""
        if self.graph is None:
            if self.live_count < GRAPH_FROM:
                return False
            self.graph = Graph(self.dimension, self.distance, self.options)
        with self._guard:
            unmarked, self._unmarked = self._unmarked, []
        if unmarked:
            self.graph.mark_deleted(np.array(unmarked, np.int64))
        start, stop = self.graphed, min(self.count, self.graphed + GRAPH_STEP)
        slots = self._live_slots(start, stop)
        if len(slots):
            busy = threads if self.count - start > BULK_BEHIND else 1
            self.graph.add(slots, self._matrix[slots], threads=busy)
        with self._guard:
            self.graphed = stop
            # Those that died while they were being added are in the graph all the same.
            self._unmarked.extend(slots[~self._live[slots]].tolist())
        return self.unfinished

    def drop_graph(self) -> None:
        """Start the graph over; until it has caught up, searches are exact."""
        with self._guard:
            self.graph, self.graphed, self._unmarked = None, 0, []

    # --- searching

    @property
    def unfinished(self) -> bool:
        """Whether advance would find something to do."""
        if self.graph is None:
            return self.live_count >= GRAPH_FROM
        return self.graphed < self.count or bool(self._unmarked)

    @property
    def behind(self) -> int:
        """How many published slots are searched exactly because the graph lacks them."""
        return self.count - self.graphed

    def nearest(
        self, queries: Matrix, count: int, candidates: int, *, threads: int
    ) -> list[tuple[Slots, Scores]]:
        """Return per query up to `count` live slots and their scores, best first.

        `candidates` is how many the graph considers; more find better and cost more.
        """
        graph, graphed = self.graph, self.graphed
        candidates = max(candidates, count)
        # Where the graph would have to give most of its nodes, looking at all is cheaper.
        if graph is None or not graph.usable or candidates * 4 > graph.live:
            return self.exact(queries, count)
        try:
            near = graph.nearest(queries, candidates, threads=threads)
        except GraphShort:
            return self.exact(queries, count)
        answers = []
        tail = self._nearest_of(queries, self._live_slots(graphed, self.count), count)
        for row, query in enumerate(queries):
            found = near[row]
            found = found[self._live[found]]
            if len(found) < count and len(found) < near.shape[1]:
                # Vectors died since the graph was told: a wider look, rare and short-lived.
                answers += self.exact(query[None], count)
                continue
            answers.append(self._ranked(query, np.union1d(found, tail[row]), count))
        return answers

    def exact(self, queries: Matrix, count: int) -> list[tuple[Slots, Scores]]:
        """Return per query the `count` nearest of all live slots, best first."""
        best = self._nearest_of(queries, self._live_slots(0, self.count), count)
        return [self._ranked(query, best[row], count) for row, query in enumerate(queries)]

    def among(self, queries: Matrix, labels: Labels, count: int) -> list[tuple[Slots, Scores]]:
        """Return per query the `count` nearest of the given labels' live slots, best first."""
        slots = self.slots_of(labels)
        best = self._nearest_of(queries, slots[self._live[slots]], count)
        return [self._ranked(query, best[row], count) for row, query in enumerate(queries)]

    def slots_of(self, labels: Labels) -> Slots:
        """Return the slots of those labels that have one."""
        known = self._labels[: self.count]
        slots = np.searchsorted(known, labels)
        inside = slots < self.count
        slots, labels = slots[inside], labels[inside]
        return slots[known[slots] == labels]

    def labels_of(self, slots: Slots) -> Labels:
        return self._labels[slots]

    def _nearest_of(self, queries: Matrix, slots: Slots, count: int) -> list[Slots]:
        """Return the nearest of the slots, unordered, with some to spare for rounding."""
        best = [np.empty(0, np.int64) for _ in queries]
        scores = [np.empty(0, np.float32) for _ in queries]
        for first in range(0, len(slots), BLOCK_ROWS):
            block = slots[first : first + BLOCK_ROWS]
            start, stop = int(block[0]), int(block[-1]) + 1
            # Neighbours in the file are compared where they lie, others are gathered first.
            whole = stop - start == len(block)
            vectors = self._matrix[start:stop] if whole else self._matrix[block]
            near = products(self.distance, queries, vectors)
            for row in range(len(queries)):
                both = np.concatenate([scores[row], near[row]])
                kept = _largest(both, count)
                best[row] = np.concatenate([best[row], block])[kept]
                scores[row] = both[kept]
        return best

    def _live_slots(self, start: int, stop: int) -> Slots:
        return start + np.flatnonzero(self._live[start:stop])

    def _ranked(self, query: Matrix, slots: Slots, count: int) -> tuple[Slots, Scores]:
        # Scored again one by one: the same pair has the same bits whichever way it was found.
        scores = scores_of(self.distance, query, self._matrix[slots])
        order = np.lexsort((slots, -scores))[:count]
        return slots[order], scores[order]

    # --- copying

    def graphed_slots(self) -> tuple[Labels, NDArray[np.bool_]]:
        """Return the labels of the slots in the graph, and which of them it has as living."""
        with self._guard:
            live = self._live[: self.graphed].copy()
            live[self._unmarked] = True
            return self._labels[: self.graphed].copy(), live

    def live_labels(self) -> Labels:
        """Return the labels of all vectors that a search may find, ascending."""
        with self._guard:
            return self._labels[: self.count][self._live[: self.count]]

    def vectors_of(self, labels: Labels) -> Matrix:
        """Return the vectors of labels that have one, in their order."""
        return self._matrix[self.slots_of(labels)]

    # --- the file

    def sync(self) -> None:
        """Make the published vectors durable."""
        os.fsync(self._file)

    def discard(self) -> None:
        """Remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; searches under way keep their map."""
        os.close(self._file)

    def _reserve(self, rows: int) -> None:
        if rows <= len(self._matrix):
            return
        rows = max(rows, len(self._matrix) + max(GROW_ROWS, len(self._matrix) // 2))
        os.ftruncate(self._file, rows * self.dimension * 4)  # sparse: takes no room yet
        mapped = np.memmap(self.path, np.float32, "r", shape=(rows, self.dimension))
        labels = np.zeros(rows, np.int64)
        live = np.zeros(rows, np.bool_)
        with self._guard:
            labels[: self.count] = self._labels[: self.count]
            live[: self.count] = self._live[: self.count]
            self._labels, self._live, self._matrix = labels, live, np.asarray(mapped)


def _largest(scores: Scores, count: int) -> NDArray[np.int64]:
    kept = count + SPARE
    if len(scores) <= kept:
        return np.arange(len(scores))
    return np.argpartition(scores, len(scores) - kept)[-kept:]
