"""A saved index is taken back exactly as it was saved, or it is made again from the store."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import numpy as np
import pytest
import structlog
from structlog.typing import EventDict

from finesieve_server.errors import StorageFull
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.manifest import MANIFEST, read_manifest
from finesieve_server.index.progress import logged
from finesieve_server.index.records import State
from finesieve_server.index.recovery import recover
from finesieve_server.index.store import Store
from finesieve_server.index.upkeep import Shared, Upkeep
from tests.server.index.corpus import embeddings, ids, nearest_ids, passages, spec

COUNT = 2200  # few, and enough for a graph
GONE = 100


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one collection, closed after a snapshot: p00000 to p00099 deleted."""
    data_dir = tmp_path_factory.mktemp("saved") / "data"
    asyncio.run(write(data_dir))
    return data_dir


async def write(data_dir: Path) -> None:
    catalog = await Catalog.open(data_dir)
    collection = await catalog.create(spec())
    await collection.upsert(passages(COUNT), list(embeddings(COUNT)))
    await collection.delete([f"p{number:05}" for number in range(GONE)])
    await collection.settled()
    await catalog.close()


async def require_right_answers(collection: Collection) -> None:
    corpus, queries = embeddings(COUNT), embeddings(20, seed=7)
    found = await collection.search(queries, 10)
    for row, query in zip(found, queries, strict=True):
        truth = [id_ for id_ in nearest_ids(corpus, query, 300) if int(id_[1:]) >= GONE][:10]
        assert len(set(ids(row)) & set(truth)) >= 9
    assert (await collection.info()).passage_count == COUNT - GONE


def folder_of(data_dir: Path) -> Path:
    [folder] = (data_dir / "collections").iterdir()
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as events:
        yield events


def events_of(log: list[EventDict]) -> list[str]:
    return [str(event["event"]) for event in log]


async def test_a_saved_index_serves_at_once(copied: Path, log: list[EventDict]) -> None:
    catalog = await Catalog.open(copied)
    await catalog.started()
    collection = await catalog.get("docs")

    assert (await collection.info()).state is State.READY
    assert collection._engine is not None
    assert collection._engine.upkeep.vectors.behind == 0
    await require_right_answers(collection)
    assert events_of(log) == []
    await catalog.close()


async def test_what_came_after_the_snapshot_is_found_at_once(copied: Path) -> None:
    new = embeddings(30, seed=11)
    catalog = await Catalog.open(copied)
    await (await catalog.get("docs")).upsert(passages(10, COUNT), list(new[:10]))
    await (await catalog.get("docs")).upsert(passages(20, 200), list(new[10:]))
    await (await catalog.get("docs")).delete(["p00300"])
    await catalog.close()  # too little changed for another snapshot

    catalog = await Catalog.open(copied)
    collection = await catalog.get("docs")

    found = await collection.search(new, 1)
    assert [ids(row)[0] for row in found[:10]] == [f"p{COUNT + n:05}" for n in range(10)]
    assert [ids(row)[0] for row in found[10:]] == [f"p{200 + n:05}" for n in range(20)]
    gone = await collection.search(embeddings(COUNT)[300:301], 5)
    assert "p00300" not in ids(gone[0])
    await catalog.close()


def flip_a_bit(path: Path, size: int, random: np.random.Generator) -> None:
    at = int(random.integers(size))
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << int(random.integers(8))]))


def lose_a_page(path: Path, size: int, random: np.random.Generator) -> None:
    at = int(random.integers(max(1, size // 4096))) * 4096
    with path.open("r+b") as file:
        file.seek(at)
        file.write(random.bytes(min(4096, size - at)))


def truncate(path: Path, size: int, random: np.random.Generator) -> None:
    with path.open("r+b") as file:
        file.truncate(int(random.integers(size)))


def remove(path: Path, size: int, random: np.random.Generator) -> None:
    path.unlink()


def swap(path: Path, size: int, random: np.random.Generator) -> None:
    others = [other for other in sorted(path.parent.glob("*-1.*")) if other != path]
    path.write_bytes(others[random.integers(len(others))].read_bytes())


def make_stale(path: Path, size: int, random: np.random.Generator) -> None:
    store = apsw.Connection(str(path.parent / "store.db"))
    newer = int(random.integers(2, 10))  # one more might be a crash before the note
    store.execute("UPDATE collection SET generation = generation + ?", (newer,))
    store.close()


DAMAGES = (flip_a_bit, lose_a_page, truncate, remove, swap, make_stale)


async def test_a_damaged_snapshot_is_noticed_and_made_again(
    saved: Path, tmp_path: Path, repetitions: Callable[[int, int], int], log: list[EventDict]
) -> None:
    for seed in range(repetitions(24, 1000)):
        random = np.random.default_rng(seed)
        data_dir = tmp_path / str(seed)
        shutil.copytree(saved, data_dir)
        folder = folder_of(data_dir)
        kind = ("graph-*", "slots-*", "vectors-*", MANIFEST)[seed % 4]
        [path] = folder.glob(kind)
        # The file of vectors reserves room beyond what is saved: damage there is none.
        size = COUNT * spec().dimension * 4 if kind == "vectors-*" else path.stat().st_size
        damage = DAMAGES[seed // 4 % len(DAMAGES)]
        damage(path, size, random)
        log.clear()

        catalog = await Catalog.open(data_dir)
        await catalog.started()

        told = f"seed {seed}: {damage.__name__} of {kind}"
        assert "snapshot not used" in events_of(log), told
        collection = await catalog.get("docs")
        await require_right_answers(collection)
        await collection.settled()
        assert (await collection.info()).state is State.READY, told
        await require_right_answers(collection)
        await catalog.close()
        assert "snapshot saved" in events_of(log), told
        shutil.rmtree(data_dir)


async def test_an_older_snapshot_put_back_is_noticed(copied: Path, log: list[EventDict]) -> None:
    folder = folder_of(copied)
    older = {path.name: path.read_bytes() for path in folder.iterdir() if "store" not in path.name}
    catalog = await Catalog.open(copied)
    await (await catalog.get("docs")).upsert(passages(500, COUNT), list(embeddings(500, seed=3)))
    await (await catalog.get("docs")).settled()
    await catalog.close()
    for name, content in older.items():
        (folder / name).write_bytes(content)
    log.clear()

    catalog = await Catalog.open(copied)
    await catalog.started()

    assert "generation is 1, the newest is 2" in str(log[0])
    found = await (await catalog.get("docs")).search(embeddings(500, seed=3)[:5], 1)
    assert [ids(row)[0] for row in found] == [f"p{COUNT + n:05}" for n in range(5)]
    await catalog.close()


async def test_another_collection_s_snapshot_is_noticed(
    copied: Path, tmp_path: Path, log: list[EventDict]
) -> None:
    await write(tmp_path / "other")
    for path in folder_of(tmp_path / "other").iterdir():
        if "store" not in path.name:
            shutil.copy(path, folder_of(copied) / path.name)
    log.clear()

    catalog = await Catalog.open(copied)
    await catalog.started()

    assert log[0]["event"] == "snapshot not used"
    assert "uid" in log[0]["reason"]
    await require_right_answers(await catalog.get("docs"))
    await catalog.close()


async def test_a_store_put_back_from_before_the_snapshot_is_noticed(
    tmp_path: Path, log: list[EventDict]
) -> None:
    data_dir = tmp_path / "data"
    catalog = await Catalog.open(data_dir)
    collection = await catalog.create(spec())
    await collection.upsert(passages(COUNT), list(embeddings(COUNT)))
    await catalog.close()
    folder = folder_of(data_dir)
    older_store = (folder / "store.db").read_bytes()
    catalog = await Catalog.open(data_dir)
    await (await catalog.get("docs")).upsert(passages(500, COUNT), list(embeddings(500, seed=3)))
    await (await catalog.get("docs")).settled()
    await catalog.close()
    (folder / "store.db").write_bytes(older_store)
    log.clear()

    # Generation 2 against 1: as if the server had died between rename and note. But the labels
    # that it knows were never given by this store, which will give them to other passages.
    catalog = await Catalog.open(data_dir)
    collection = await catalog.get("docs")
    await collection.upsert(passages(500, COUNT), list(embeddings(500, seed=4)))

    assert "the store's last is" in str(log[0])
    found = await collection.search(embeddings(500, seed=4)[:50], 1)
    assert [ids(row)[0] for row in found] == [f"p{COUNT + n:05}" for n in range(50)]
    await catalog.close()


async def test_a_crash_between_rename_and_note_keeps_the_new_snapshot(
    copied: Path, log: list[EventDict]
) -> None:
    store = apsw.Connection(str(folder_of(copied) / "store.db"))
    store.execute("UPDATE collection SET generation = generation - 1")
    store.close()

    catalog = await Catalog.open(copied)
    await catalog.started()

    assert events_of(log) == []
    assert (await catalog.get("docs"))._engine is not None
    await require_right_answers(await catalog.get("docs"))
    await catalog.close()
    catalog = await Catalog.open(copied)
    await catalog.started()
    assert events_of(log) == []
    await catalog.close()


class Forgetful(Store):
    """A store that has no room for the note of a snapshot."""

    def record_generation(self, generation: int) -> None:
        raise StorageFull("no room")


async def test_snapshots_whose_notes_fail_leave_one_that_the_next_start_takes(
    copied: Path, log: list[EventDict]
) -> None:
    folder = folder_of(copied)
    store = Forgetful(folder / "store.db")
    vectors = recover(folder, store, spec(), logged("test"))
    with ThreadPoolExecutor(1) as thread:
        shared = Shared(thread, threading.Semaphore(1), 1, 20_000)
        upkeep = Upkeep(folder, store, spec(), vectors, thread, shared)
        for _ in range(3):
            vectors.changes = vectors.count
            upkeep.save_if_worth_it()
    vectors.close()
    store.close()
    assert events_of(log) == ["snapshot not saved"] * 3
    assert read_manifest(folder).generation == store.generation + 1
    log.clear()

    catalog = await Catalog.open(copied)
    await catalog.started()

    assert events_of(log) == []
    await require_right_answers(await catalog.get("docs"))
    await catalog.close()


async def test_files_that_no_snapshot_names_are_removed(copied: Path) -> None:
    folder = folder_of(copied)
    for name in ("graph-7.hnsw", "slots-7.bin", "vectors-9.f32", f"{MANIFEST}.new"):
        (folder / name).write_bytes(b"left by a crash")

    catalog = await Catalog.open(copied)
    await catalog.started()
    await catalog.close()

    names = {path.name for path in folder.iterdir()}
    assert names == {"store.db", MANIFEST, "graph-1.hnsw", "slots-1.bin", "vectors-1.f32"}
