"""Bring a collection's vectors to what its store holds, from a snapshot or from the start.

Afterwards every passage is found; what the graph lacks is added in the background.
"""

from pathlib import Path

import numpy as np
import structlog

from finesieve_server.errors import DataLoss, InvalidArgument
from finesieve_server.index.distances import comparable
from finesieve_server.index.manifest import MANIFEST, BadSnapshot
from finesieve_server.index.progress import Progress
from finesieve_server.index.records import CollectionSpec, Labels
from finesieve_server.index.snapshot import (
    Restored,
    remove_unnamed,
    restore,
)
from finesieve_server.index.store import Store
from finesieve_server.index.vectors import GRAPH_FROM, Vectors

CHUNK = 4_096  # embeddings read from the store at a time

_log = structlog.get_logger(__name__)


def recover(folder: Path, store: Store, spec: CollectionSpec, progress: Progress) -> Vectors:
    """Return vectors that hold exactly the store's embeddings; nobody else may use the folder.

    Ends early with what `progress` raises.
    """
    with store.reading() as reader:
        expected = reader.labels_to_retrieve()
    try:
        vectors = _from_snapshot(folder, store, spec, expected, progress)
    except BadSnapshot as problem:
        if store.generation or len(expected) >= GRAPH_FROM:
            _log.info("snapshot not used", collection=spec.name, reason=str(problem))
        (folder / MANIFEST).unlink(missing_ok=True)
        vectors = Vectors(new_vectors_path(folder), spec.dimension, spec.distance, spec.hnsw)
    remove_unnamed(
        folder,
        {vectors.path.name, f"graph-{store.generation}.hnsw", f"slots-{store.generation}.bin"},
    )
    try:
        fill(vectors, store, expected[vectors.live_count :], spec, progress)
    except BaseException:
        vectors.close()
        raise
    return vectors


def fill(
    vectors: Vectors, store: Store, labels: Labels, spec: CollectionSpec, progress: Progress
) -> None:
    """Publish the store's embeddings of new labels, which ascend."""
    for start in range(0, len(labels), CHUNK):
        progress("replay", start, len(labels))
        wanted = labels[start : start + CHUNK]
        try:
            with store.reading() as reader:
                found = list(reader.embeddings(wanted))
            fields = [f"the embedding of label {label}" for label, _ in found]
            matrix = comparable(
                [value for _, value in found], fields, spec.dimension, spec.distance
            )
        except (InvalidArgument, ValueError) as error:
            raise DataLoss(f"{store.path} is damaged: {error}") from error
        if len(found) != len(wanted):
            raise DataLoss(f"{store.path} is damaged: {len(wanted) - len(found)} embeddings lost")
        vectors.stage(np.array([label for label, _ in found], np.int64), matrix)
        vectors.publish(len(found), np.empty(0, np.int64))


def new_vectors_path(folder: Path) -> Path:
    """Return a name for a file of vectors that is not in use."""
    taken = [int(path.stem.partition("-")[2]) for path in folder.glob("vectors-*.f32")]
    return folder / f"vectors-{max(taken, default=0) + 1}.f32"


def trusted_snapshot(
    folder: Path, store: Store, spec: CollectionSpec, expected: Labels, progress: Progress
) -> Restored:
    """Return the newest snapshot, verified, if the store can be searched by it.

    Raises BadSnapshot.
    """
    restored = restore(folder, store.uid, spec, store.generation, store.last_label(), progress)
    if len(np.setdiff1d(_older(expected, restored), restored.living, assume_unique=True)):
        raise BadSnapshot("it lacks passages that the store had before it was made")
    return restored


def _from_snapshot(
    folder: Path, store: Store, spec: CollectionSpec, expected: Labels, progress: Progress
) -> Vectors:
    restored = trusted_snapshot(folder, store, spec, expected, progress)
    vectors = Vectors(restored.vectors_path, spec.dimension, spec.distance, spec.hnsw)
    vectors.adopt(restored.labels, restored.live, restored.graph)
    gone = np.setdiff1d(restored.living, _older(expected, restored), assume_unique=True)
    vectors.publish(0, gone)
    if restored.generation != store.generation:
        store.record_generation(restored.generation)
    return vectors


def _older(expected: Labels, restored: Restored) -> Labels:
    """Return those labels that were given before the snapshot was made."""
    last = restored.labels[-1] if len(restored.labels) else 0
    return expected[: np.searchsorted(expected, last, "right")]
