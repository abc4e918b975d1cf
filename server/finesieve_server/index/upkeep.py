"""Keep a collection's index abreast of its store, on a thread that lives while there is work.

Decides when the graph grows, when it is made again without its dead, and when it is saved.
Searches are right without any of it, only slower.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import structlog

from finesieve_server.errors import FinesieveError
from finesieve_server.index.manifest import MANIFEST
from finesieve_server.index.progress import PROGRESS_S, logged
from finesieve_server.index.records import CollectionSpec
from finesieve_server.index.recovery import fill, new_vectors_path
from finesieve_server.index.snapshot import remove_unnamed, save
from finesieve_server.index.store import Store
from finesieve_server.index.vectors import GRAPH_FROM, Vectors

MAX_BEHIND = 20_000  # vectors searched exactly; a write that makes it more waits for the graph
SNAPSHOT_CHANGES = 20_000
SNAPSHOT_SHARE = 10  # the least part of the vectors, one in so many, that is worth a snapshot
COPY_ROWS = 16_384
MAX_LATE = 2_000  # vectors that a compaction still lacks when it takes the old ones' place
STEPS_TO_ONE_OLD = 2  # of the new graph, while writes wait for the old one

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the collections of one server share, and how they are tended."""

    readers: Executor  # the threads of all searches and reads
    building: threading.Semaphore  # held for each step of building a graph
    threads: int  # of one such step
    snapshot_changes: int  # a snapshot is due after so many, or a share of the vectors if more


class Upkeep:
    """The vectors of one collection and the thread that tends them."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        spec: CollectionSpec,
        vectors: Vectors,
        writer: Executor,
        shared: Shared,
    ) -> None:
        """`writer` runs what must not meet a write."""
        self.vectors = vectors
        self._folder = folder
        self._store = store
        self._spec = spec
        self._writer = writer
        self._shared = shared
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._wanting_room = False  # whether a write waits until the graph took more
        self._errand: tuple[Callable[[], None], Future[None]] | None = None  # for the writer
        self._generation = store.generation  # of the newest whole snapshot
        self._saved_graphed = vectors.graphed  # slots in the graph at the newest snapshot
        self._compact_from = 0  # slots; raised where a compaction found no room
        self.rebuilding = vectors.unfinished and vectors.behind > GRAPH_FROM
        self._told_s = 0.0

    def wake(self) -> None:
        """See to it that what was published gets into the graph."""
        with self._changed:
            if self._thread is None and not self._stopping and self._has_work():
                name = f"upkeep-{self._spec.name}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()

    def make_room(self, added: int) -> None:
        """Wait while the graph is far behind; the writer alone calls this, before a write."""
        self._wanting_room = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._errand is not None or self._has_room(added))
                if self._errand is None:
                    break
            self._run_errand()
        self._wanting_room = False

    def wait_until_idle(self) -> None:
        """Return once there is nothing more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None)

    def stop(self) -> None:
        """Let the step under way finish, and start no other."""
        with self._changed:
            self._stopping = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def save_if_worth_it(self) -> None:
        """Save the index unless so little changed that starting from the last is as good."""
        if self.vectors.graph is not None and self.vectors.changes * 100 > self.vectors.count:
            self._save(self._store.record_generation)

    def _has_work(self) -> bool:
        return self.vectors.unfinished or self._compaction_due() or self._snapshot_due()

    def _has_room(self, added: int) -> bool:
        behind = self.vectors.behind
        return behind + added <= MAX_BEHIND or not behind or self._thread is None

    def _work(self) -> None:
        try:
            if self.rebuilding:
                self._told_s = time.monotonic()
                _log.info("index rebuild started", **self._progress())
            while not self._stopping and not self._finished():
                self._step()
        except Exception:  # noqa: BLE001 -- the thread's end: nobody else would tell
            # Searches stay right: what the graph lacks is searched exactly. The next write wakes
            # a new thread, which starts from an empty graph.
            _log.exception("index upkeep failed", collection=self._spec.name)
            self.vectors.drop_graph()
            self._saved_graphed = 0
            self.rebuilding = self.vectors.unfinished
        finally:
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None
                self._changed.notify_all()

    def _step(self) -> None:
        # A graph that is mostly dead is not added to: hnswlib would walk all the dead for each
        # new vector, and leave it badly linked.
        if self._compaction_due():
            self._compact()
        elif self._snapshot_due():
            self._save(self._record_generation)
        else:
            self._advance(self.vectors)
        if self.rebuilding:
            self._tell_rebuild()

    def _tell_rebuild(self) -> None:
        self.rebuilding = self.vectors.unfinished
        if not self.rebuilding:
            _log.info("index rebuild finished", **self._progress())
        elif time.monotonic() - self._told_s > PROGRESS_S:
            self._told_s = time.monotonic()
            _log.info("index rebuild goes on", **self._progress())

    def _finished(self) -> bool:
        with self._changed:
            if self._has_work():
                return False
            # Within the lock, so that a wake that comes later starts another thread.
            self._thread = None
            return True

    def _advance(self, vectors: Vectors) -> bool:
        with self._shared.building:
            more = vectors.advance(self._shared.threads)
        with self._changed:
            self._changed.notify_all()
        return more

    def _compaction_due(self) -> bool:
        vectors = self.vectors
        large = vectors.count >= max(GRAPH_FROM, self._compact_from)
        return large and vectors.live_count * 2 < vectors.count

    def _compact(self) -> None:
        """Make vectors and graph again without the dead, while the old ones serve."""
        old = self.vectors
        _log.info("index compaction started", **self._progress())
        try:
            new = Vectors(
                new_vectors_path(self._folder),
                self._spec.dimension,
                self._spec.distance,
                self._spec.hnsw,
            )
            try:
                self._copy(old, new)
                if not self._stopping:
                    self._in_writer(partial(self._replace, old, new))
            finally:
                if self.vectors is not new:
                    new.discard()
        except (OSError, FinesieveError) as error:
            # The old index goes on serving; another try waits for more to change.
            _log.warning("index not compacted", collection=self._spec.name, error=str(error))
            self._compact_from = old.count + self._shared.snapshot_changes
        if self.vectors is not old:
            _log.info("index compaction finished", **self._progress())
            self._after_compaction(old)

    def _copy(self, old: Vectors, new: Vectors) -> None:
        """Bring to the new what lives in the old, until little of it came meanwhile."""
        late = old.live_labels()
        while True:
            for start in range(0, len(late), COPY_ROWS):
                chunk = late[start : start + COPY_ROWS]
                new.stage(chunk, old.vectors_of(chunk))
                new.publish(len(chunk), np.empty(0, np.int64))
            steps = 0
            while self._advance(new) and not self._stopping:
                steps += 1
                # Slower than the new grows, which therefore catches up.
                if self._wanting_room and steps % STEPS_TO_ONE_OLD == 0:
                    self._advance(old)
            late = np.setdiff1d(old.live_labels(), new.live_labels(), assume_unique=True)
            if len(late) <= MAX_LATE or self._stopping:
                return

    def _replace(self, old: Vectors, new: Vectors) -> None:
        """Take the new vectors into use with all that happened since; no write runs meanwhile."""
        living, copied = old.live_labels(), new.live_labels()
        new.publish(0, np.setdiff1d(copied, living, assume_unique=True))
        late = np.setdiff1d(living, copied, assume_unique=True)
        fill(new, self._store, late, self._spec, logged("index compaction", **self._progress()))
        self.vectors = new

    def _after_compaction(self, old: Vectors) -> None:
        old.close()
        if self.vectors.graph is not None:
            self._save(self._record_generation)
        else:
            (self._folder / MANIFEST).unlink(missing_ok=True)
            remove_unnamed(self._folder, {self.vectors.path.name})

    def _snapshot_due(self) -> bool:
        vectors = self.vectors
        due = max(self._shared.snapshot_changes, vectors.count // SNAPSHOT_SHARE)
        if vectors.unfinished:  # what a long load or rebuild has done so far is kept, too
            return vectors.graphed - self._saved_graphed >= due
        return vectors.graph is not None and vectors.changes >= due

    def _save(self, record_generation: Callable[[int], None]) -> None:
        vectors = self.vectors
        changes = vectors.take_changes()
        self._saved_graphed = vectors.graphed
        try:
            if self._generation != self._store.generation:
                # A start trusts a snapshot that is one ahead of the store's note, not two.
                record_generation(self._generation)
            save(self._folder, self._store.uid, self._spec, vectors, self._generation + 1)
            self._generation += 1
            record_generation(self._generation)
        except (OSError, FinesieveError) as error:
            # The index of the last snapshot stays whole, and the store has everything.
            _log.warning("snapshot not saved", collection=self._spec.name, error=str(error))
            return
        _log.info("snapshot saved", collection=self._spec.name, changes=changes)

    def _record_generation(self, generation: int) -> None:
        self._in_writer(partial(self._store.record_generation, generation))

    def _in_writer(self, work: Callable[[], None]) -> None:
        """Run work between two writes; one that waits for room runs it, lest both wait."""
        done: Future[None] = Future()
        with self._changed:
            self._errand = work, done
            self._changed.notify_all()
        self._writer.submit(self._run_errand)
        done.result()

    def _run_errand(self) -> None:
        with self._changed:
            errand, self._errand = self._errand, None
        if errand is None:
            return  # a write that waited has run it
        work, done = errand
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- raised where it is waited for
            done.set_exception(error)
        else:
            done.set_result(None)

    def _progress(self) -> dict[str, str | int]:
        return {
            "collection": self._spec.name,
            "vectors": self.vectors.live_count,
            "in_graph": self.vectors.graphed,
        }
