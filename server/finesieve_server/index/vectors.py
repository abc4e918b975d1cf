"""Hold the vectors of one collection by slot, and find the nearest: in a graph and exactly.

Vectors are appended in the order of their labels, and a slot never changes its vector. Slots
below `graphed` are in the graph, those beyond are searched exactly, so that a vector is found
as soon as it is published. Everything here is made from the store.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.exact import Ranking, Slots, nearest_of, ranked, ranked_rows
from finesieve_server.index.graph import Graph
from finesieve_server.index.ids import KnownIds
from finesieve_server.index.matches import KnownMatches, SlotLabels
from finesieve_server.index.records import Distance, Embedding, HnswOptions, Labels, Matrix, Scores
from finesieve_server.index.vector_file import VectorFile

GRAPH_FROM = 2_000  # vectors; an exact search of fewer is quick, and a graph takes 3 MB empty
GRAPH_STEP = 256  # vectors handed to the graph at a time
EXACT_SHARE = 4  # where the graph would look at a fourth of its nodes, looking at all is cheaper
BULK_BEHIND = 512  # a longer tail means a bulk load: use every core


class Vectors:
    """One thread stages and publishes, one advances the graph, any number search."""

    def __init__(
        self, path: Path, dimension: int, distance: Distance, options: HnswOptions
    ) -> None:
        """Open the file at `path`; what is in it counts only once it is adopted."""
        self.distance = distance
        self.graph: Graph | None = None
        self.graphed = 0
        self.count = 0  # published slots
        self.live_count = 0
        self.changes = 0  # vectors that came and went since the last snapshot
        self._dimension = dimension
        self._options = options
        self._file = VectorFile(path, dimension)
        self._labels: Labels = np.empty(0, np.int64)
        self._live: NDArray[np.bool_] = np.empty(0, np.bool_)
        self.matches = KnownMatches()
        self.ids = KnownIds()
        self._unmarked: list[int] = []  # slots that died and that the graph holds as living
        self._guard = threading.Lock()  # over live, unmarked and graphed, for microseconds

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def behind(self) -> int:
        """How many published slots are searched exactly because the graph lacks them."""
        return self.count - self.graphed

    @property
    def unfinished(self) -> bool:
        """Whether advance would find something to do."""
        if self.graph is None:
            return self.live_count >= GRAPH_FROM
        return self.behind > 0 or bool(self._unmarked)

    # --- one thread writes

    def adopt(self, labels: Labels, live: NDArray[np.bool_], graph: Graph) -> None:
        """Take over the file's first slots as they are, and the graph that holds them."""
        assert self.count == 0
        self._reserve(len(labels))
        self._labels[: len(labels)] = labels
        self._live[: len(live)] = live
        self.count = self.graphed = len(labels)
        self.live_count = int(np.count_nonzero(live))
        self.graph = graph

    def stage(self, labels: Labels, vectors: Matrix) -> None:
        """Write vectors beyond the published ones, unseen as yet. May raise OSError."""
        end = self.count + len(labels)
        self._reserve(end)
        self._file.write(self.count, vectors)
        self._labels[self.count : end] = labels
        self._live[self.count : end] = True

    def publish(self, added: int, removed: Labels) -> None:
        """Show the staged vectors and hide the removed ones, at once."""
        slots = self.slot_labels().slots_of(removed)
        with self._guard:
            slots = slots[self._live[slots]]
            self._live[slots] = False
            self._unmarked.extend(slots[slots < self.graphed].tolist())
            self.live_count += added - len(slots)
            self.changes += added + len(slots)
            self.count += added

    def take_changes(self) -> int:
        """Return how many vectors came and went since this was last asked."""
        with self._guard:
            changes, self.changes = self.changes, 0
            return changes

    # --- one thread tends the graph

    def advance(self, threads: int) -> bool:
        """Bring the graph one step nearer to the published vectors; True while more is to do."""
        if self.graph is None:
            if not self.unfinished:
                return False
            self.graph = Graph.empty(self._dimension, self.distance, self._options)
        with self._guard:
            unmarked, self._unmarked = self._unmarked, []
        self.graph.mark_deleted(np.array(unmarked, np.int64))
        start, stop = self.graphed, min(self.count, self.graphed + GRAPH_STEP)
        slots = self._live_slots(start, stop)
        busy = threads if self.count - start > BULK_BEHIND else 1
        self.graph.add(slots, self._file.matrix[slots], threads=busy)
        with self._guard:
            self.graphed = stop
            # Those that died while they were being added are in the graph all the same.
            self._unmarked.extend(slots[~self._live[slots]].tolist())
        return self.unfinished

    def drop_graph(self) -> None:
        """Start the graph over; until it has caught up, searches are exact."""
        with self._guard:
            self.graph, self.graphed, self._unmarked = None, 0, []

    def graphed_slots(self) -> tuple[Labels, NDArray[np.bool_]]:
        """Return the labels of the slots in the graph, and which of them it holds as living."""
        with self._guard:
            live = self._live[: self.graphed].copy()
            live[self._unmarked] = True
            return self._labels[: self.graphed].copy(), live

    # --- many search

    def nearest(
        self, queries: Matrix, count: int, considered: int, require_wanted: Callable[[], None]
    ) -> list[Ranking]:
        """Return per query up to `count` live slots and their scores, best first.

        `considered` is how many the graph looks at; more find better and cost more.
        """
        near = self.near(queries, count, considered, require_wanted)
        full = [slots for slots in near if slots is not None and len(slots) == count]
        if full and len(full) == len(queries):
            return ranked_rows(self.distance, queries, self._file.matrix, np.stack(full))
        rankings = [
            # Fewer: some that the graph gave have died, and it was not asked for more.
            self.ranked(query, slots, count) if slots is not None and len(slots) >= count else None
            for query, slots in zip(queries, near, strict=True)
        ]
        missing = [row for row, ranking in enumerate(rankings) if ranking is None]
        late = iter(self.exact(queries[missing], count, require_wanted) if missing else ())
        return [ranking or next(late) for ranking in rankings]

    def near(
        self, queries: Matrix, count: int, considered: int, require_wanted: Callable[[], None]
    ) -> list[Slots | None]:
        """Return per query at least the `count` nearest live slots, unless some died meanwhile.

        None where an exact search is cheaper, or the graph does not reach as many as are looked at.
        """
        graph, graphed = self.graph, self.graphed
        considered = max(considered, count)
        if graph is None or considered * EXACT_SHARE > graph.live:
            return [None] * len(queries)
        found = graph.nearest(queries, considered)
        with self._guard:  # what one write shows and hides is seen together
            tail = self._live_slots(graphed, self.count)
            living = self._live[found]
        near: list[Slots | None]
        if living.all() and found.min(initial=0) >= 0:  # nearly always
            near = list(found[:, :count])
        else:
            near = [
                slots[alive][:count] if slots.min(initial=0) >= 0 else None
                for slots, alive in zip(found, living, strict=True)
            ]
        if not len(tail):
            return near
        late = nearest_of(self.distance, queries, self._file.matrix, tail, count, require_wanted)
        return [
            # What was added to the graph meanwhile is in both.
            None if slots is None else np.union1d(slots, added)
            for slots, (added, _) in zip(near, late, strict=True)
        ]

    def exact(
        self, queries: Matrix, count: int, require_wanted: Callable[[], None]
    ) -> list[Ranking]:
        """Return per query the `count` nearest of all live slots, best first."""
        with self._guard:
            slots = self._live_slots(0, self.count)
        return nearest_of(self.distance, queries, self._file.matrix, slots, count, require_wanted)

    def among(
        self, queries: Matrix, slots: Slots, count: int, require_wanted: Callable[[], None]
    ) -> list[Ranking]:
        """Return per query the `count` nearest of those slots that live, best first."""
        living = slots[self._live[slots]]
        return nearest_of(self.distance, queries, self._file.matrix, living, count, require_wanted)

    def ranked(self, query: Embedding, slots: Slots, count: int) -> Ranking:
        """Return the `count` best of the slots with their scores, best first."""
        return ranked(self.distance, query, self._file.matrix, slots, count)

    def slot_labels(self) -> SlotLabels:
        """Return which labels the slots hold that are published now."""
        with self._guard:  # the labels may move to a longer array
            return SlotLabels(self._labels, self.count)

    def labelled(self, rankings: Sequence[Ranking]) -> list[tuple[Labels, Scores]]:
        """Return the labels that the store knows each ranking's slots by, and the scores."""
        return [(self._labels[slots], scores) for slots, scores in rankings]

    def live_labels(self) -> Labels:
        """Return the labels of all vectors that a search may find, ascending."""
        with self._guard:
            return self._labels[self._live_slots(0, self.count)]

    def vectors_of(self, labels: Labels) -> Matrix:
        """Return the vectors of labels that have one, in their order."""
        return self._file.matrix[self.slot_labels().slots_of(labels)]

    def _live_slots(self, start: int, stop: int) -> Slots:
        return np.flatnonzero(self._live[start:stop]) + start

    # --- the file

    def sync(self) -> None:
        """Make the published vectors durable."""
        self._file.sync()

    def close(self) -> None:
        """Let go of the file; searches under way may go on."""
        self._file.close()

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink()

    def _reserve(self, rows: int) -> None:
        self._file.reserve(rows)
        if len(self._labels) < len(self._file.matrix):
            labels = np.zeros(len(self._file.matrix), np.int64)
            live = np.zeros(len(self._file.matrix), np.bool_)
            with self._guard:
                labels[: self.count] = self._labels[: self.count]
                live[: self.count] = self._live[: self.count]
                self._labels, self._live = labels, live
