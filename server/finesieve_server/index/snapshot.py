"""Save a collection's derived index, and take back a saved one only if it is exactly that.

A snapshot is three files and a manifest that names their sizes and SHA-256. Files are written
under new names and synced; then the manifest takes the old one's place in one rename. The store
remembers the newest generation, so that an older snapshot, put back, is noticed too.
"""

import hashlib
import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.graph import Graph
from finesieve_server.index.manifest import (
    MANIFEST,
    BadSnapshot,
    Manifest,
    SavedFile,
    read_manifest,
    replace_manifest,
)
from finesieve_server.index.native import HNSWLIB
from finesieve_server.index.progress import Progress
from finesieve_server.index.records import CollectionSpec, Labels
from finesieve_server.index.vectors import Vectors

FORMAT = 1
HASH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Restored:
    """A verified snapshot: which labels its slots hold, which of them lived, and the graph."""

    vectors_path: Path
    generation: int
    labels: Labels
    live: NDArray[np.bool_]
    graph: Graph

    @property
    def living(self) -> Labels:
        return self.labels[self.live]


def save(folder: Path, uid: str, spec: CollectionSpec, vectors: Vectors, generation: int) -> None:
    """Write a snapshot of the slots that are in the graph; only while nobody advances it.

    Raises OSError or StorageFull, the older snapshot still being whole.
    """
    graph = vectors.graph
    assert graph is not None
    paths = {
        "graph": folder / f"graph-{generation}.hnsw",
        "slots": folder / f"slots-{generation}.bin",
        "vectors": vectors.path,
    }
    try:
        labels, live = vectors.graphed_slots()
        with paths["slots"].open("wb") as file:
            file.write(labels.tobytes() + live.tobytes())
            file.flush()
            os.fsync(file.fileno())
        graph.save(paths["graph"])
        vectors.sync()
        sizes = {
            "graph": paths["graph"].stat().st_size,
            "slots": paths["slots"].stat().st_size,
            "vectors": len(labels) * spec.dimension * 4,
        }
        manifest = Manifest(
            generation=generation,
            slots=len(labels),
            nodes=graph.nodes,
            deleted=graph.deleted,
            files={
                kind: SavedFile(path.name, sizes[kind], _digest(path, sizes[kind]))
                for kind, path in paths.items()
            },
            **_identity(uid, spec),
        )
        replace_manifest(folder, manifest)
    except BaseException:
        for kind in ("graph", "slots"):
            paths[kind].unlink(missing_ok=True)
        raise
    remove_unnamed(folder, {path.name for path in paths.values()})


def restore(
    folder: Path,
    uid: str,
    spec: CollectionSpec,
    generation: int,
    last_label: int,
    progress: Progress,
) -> Restored:
    """Verify the newest snapshot and load it. Raises BadSnapshot where it is not exactly that.

    Ends early with what `progress` raises.
    """
    manifest = read_manifest(folder)
    expected = _identity(uid, spec)
    for name, value in expected.items():
        if getattr(manifest, name) != value:
            raise BadSnapshot(f"{name} is {getattr(manifest, name)!r}, not {value!r}")
    # One more than the store remembers: the server died between the rename and the note of it.
    if manifest.generation not in (generation, generation + 1):
        raise BadSnapshot(f"generation is {manifest.generation}, the newest is {generation}")
    _verify(folder, manifest.files.values(), progress)
    content = (folder / manifest.files["slots"].name).read_bytes()
    if len(content) != manifest.slots * 9:
        raise BadSnapshot(f"{manifest.slots} slots do not fill {len(content)} bytes")
    labels = np.frombuffer(content, np.int64, manifest.slots)
    live = np.frombuffer(content, np.bool_, manifest.slots, manifest.slots * 8)
    if manifest.slots and labels[-1] > last_label:
        raise BadSnapshot(f"it holds label {labels[-1]}, the store's last is {last_label}")
    progress("load", 0, manifest.nodes)
    graph = Graph.load(
        folder / manifest.files["graph"].name,
        spec.dimension,
        spec.distance,
        nodes=manifest.nodes,
        deleted=manifest.deleted,
    )
    return Restored(
        folder / manifest.files["vectors"].name, manifest.generation, labels, live, graph
    )


def copy(folder: Path, to: Path, progress: Progress) -> int:
    """Copy the newest snapshot, verified, while it may be replaced; return its generation.

    Raises BadSnapshot or OSError, having left nothing.
    """
    with ExitStack() as opened:
        manifest, files = _open_newest(folder, opened)
        total = sum(saved.bytes for saved in manifest.files.values())
        done = 0
        try:
            for saved, file in zip(manifest.files.values(), files, strict=True):
                digest = hashlib.sha256()
                with (to / saved.name).open("xb") as new:
                    left = saved.bytes
                    while block := file.read(min(left, HASH_BYTES)):
                        digest.update(block)
                        new.write(block)
                        left -= len(block)
                        done += len(block)
                        progress("copy of the index", done, total)
                if digest.hexdigest() != saved.sha256:
                    raise BadSnapshot(f"{saved.name} differs from what was saved")
            replace_manifest(to, manifest)
        except BaseException:
            remove(to)
            raise
    return manifest.generation


def remove(folder: Path) -> None:
    """Remove the snapshot, and all else that was derived."""
    (folder / MANIFEST).unlink(missing_ok=True)
    remove_unnamed(folder, set())


def remove_unnamed(folder: Path, named: set[str]) -> None:
    """Remove files of derived indexes that nothing refers to."""
    for pattern in ("graph-*.hnsw", "slots-*.bin", "vectors-*.f32", f"{MANIFEST}.new"):
        for path in folder.glob(pattern):
            if path.name not in named:
                path.unlink()


def _open_newest(folder: Path, opened: ExitStack) -> tuple[Manifest, list[BinaryIO]]:
    """Open the files of the newest snapshot: open ones stay whole where another replaces it."""
    manifest = read_manifest(folder)
    while True:
        paths = [folder / saved.name for saved in manifest.files.values()]
        try:
            return manifest, [opened.enter_context(path.open("rb")) for path in paths]
        except FileNotFoundError as missing:
            newest = read_manifest(folder)
            if newest == manifest:
                raise BadSnapshot(f"{missing.filename} is missing") from None
            manifest = newest  # it took the other's place meanwhile


def _identity(uid: str, spec: CollectionSpec) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "uid": uid,
        "library": HNSWLIB,
        "dimension": spec.dimension,
        "distance": spec.distance.value,
        "m": spec.hnsw.m,
        "ef_construction": spec.hnsw.ef_construction,
        "fingerprint": spec.fingerprint,
    }


def _verify(folder: Path, files: Collection[SavedFile], progress: Progress) -> None:
    """Compare each file with its digest, side by side: two of them are large."""
    total = sum(saved.bytes for saved in files)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress("verify", done, total)

    def verify(saved: SavedFile) -> None:
        path = folder / saved.name
        try:
            size = path.stat().st_size
            if size < saved.bytes:
                raise BadSnapshot(f"{saved.name} has {size} bytes, not {saved.bytes}")
            if _digest(path, saved.bytes, advance) != saved.sha256:
                raise BadSnapshot(f"{saved.name} differs from what was saved")
        except FileNotFoundError:
            raise BadSnapshot(f"{saved.name} is missing") from None

    with ThreadPoolExecutor(len(files), "verify") as threads:
        for _ in threads.map(verify, files):
            pass


def _digest(path: Path, size: int, advance: Callable[[int], None] = lambda _: None) -> str:
    digest = hashlib.sha256()
    block = memoryview(bytearray(min(size, HASH_BYTES)))
    with path.open("rb", buffering=0) as file:
        while size > 0 and (count := file.readinto(block[:size])):
            digest.update(block[:count])
            size -= count
            advance(count)
    return digest.hexdigest()
