"""A catalog serves at once what it can, and each call waits for what it needs and no more."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
import structlog

from finesieve_server.errors import CollectionNotFound, DataLoss, StorageFull, Unavailable
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.records import State, View
from tests.server.index.corpus import embeddings, ids, passages, spec
from tests.server.index.disk import Disk
from tests.server.index.format_1 import write_directory

COUNT = 2200  # enough for a graph
FIRST = embeddings(COUNT)[:1]


@contextmanager
def held(data_dir: Path, uid: str = "*") -> Iterator[None]:
    """Keep a collection's opening from ending during the block: it must write, and cannot.

    What there is to write is the number of the newest snapshot, as after a crash before its note.
    """
    [path] = data_dir.glob(f"collections/{uid}/store.db")
    other = apsw.Connection(str(path))
    other.execute("UPDATE collection SET generation = generation - 1 WHERE generation > 0")
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    for _ in range(int(timeout_s / 0.01)):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


async def write(data_dir: Path) -> None:
    """Save one collection with a graph, "docs", and a small one, "small"."""
    catalog = await Catalog.open(data_dir)
    docs = await catalog.create(spec())
    await docs.upsert(passages(COUNT), list(embeddings(COUNT)))
    await docs.settled()
    await catalog.close()


async def test_reads_answer_while_the_index_is_brought_back_and_searches_wait_for_it(
    tmp_path: Path,
) -> None:
    await write(tmp_path)
    with held(tmp_path):
        catalog = await Catalog.open(tmp_path)
        docs = await catalog.get("docs")

        assert (await docs.info()).state is State.REBUILDING
        assert (await docs.info()).passage_count == COUNT
        assert [p.id for p in await docs.get(["p00007"], View.FULL)] == ["p00007"]
        page, _ = await docs.page("", 10, 1 << 20, None, View.ID)
        assert [p.id for p in page] == [f"p{n:05}" for n in range(10)]
        [found] = await docs.search_lexical(["title 7"], 1)
        assert ids(found) == ["p00007"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(docs.search(embeddings(1), 1), 0.05)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(docs.delete(["p00008"]), 0.05)
        searching = asyncio.create_task(docs.search(FIRST, 1))
        writing = asyncio.create_task(docs.delete(["p00009"]))
        other = await catalog.create(spec("other"))  # serves as if there were no other
        await other.upsert(passages(3), list(embeddings(3)))
        [found] = await other.search(embeddings(3)[:1], 1)
        assert ids(found) == ["p00000"]
        assert not searching.done()

    [found] = await searching
    assert ids(found) == ["p00000"]
    assert await writing == 1
    assert (await docs.info()).state is State.READY
    # The write that its caller gave up while it waited was not done.
    assert (await docs.info()).passage_count == COUNT - 1
    await catalog.close()


async def test_a_collection_can_be_deleted_while_its_index_is_brought_back(tmp_path: Path) -> None:
    await write(tmp_path)
    with held(tmp_path):
        catalog = await Catalog.open(tmp_path)
        searching = asyncio.create_task((await catalog.get("docs")).search(embeddings(1), 1))
        deleting = asyncio.create_task(catalog.delete("docs"))

        async def row_is_gone() -> bool:
            return not await catalog.page("", 1)

        await until(row_is_gone)

    await deleting
    with pytest.raises(CollectionNotFound):
        await searching
    assert list((tmp_path / "collections").iterdir()) == []
    await catalog.close()


async def test_a_catalog_can_be_closed_while_indexes_are_brought_back(tmp_path: Path) -> None:
    await write(tmp_path)
    catalog = await Catalog.open(tmp_path)
    searching = asyncio.create_task((await catalog.get("docs")).search(FIRST, 1))
    await asyncio.sleep(0)

    await catalog.close()

    outcome = (await asyncio.gather(searching, return_exceptions=True))[0]
    assert isinstance(outcome, list | Unavailable)
    catalog = await Catalog.open(tmp_path)
    [found] = await (await catalog.get("docs")).search(FIRST, 1)
    assert ids(found) == ["p00000"]
    await catalog.close()


async def test_every_call_waits_for_an_upgrade(tmp_path: Path) -> None:
    write_directory(tmp_path, embeddings(20), with_tokens=True)
    with held(tmp_path):
        catalog = await Catalog.open(tmp_path)
        docs = await catalog.get("docs")
        assert (await docs.info()).passage_count == 20
        reading = asyncio.create_task(docs.get(["p00007"], View.FULL))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 0.05)

    assert [p.id for p in await reading] == ["p00007"]
    await catalog.close()


async def test_a_damage_that_the_opening_meets_is_told_at_once_and_the_others_serve(
    tmp_path: Path,
) -> None:
    catalog = await Catalog.open(tmp_path)
    docs = await catalog.create(spec())
    await docs.upsert(passages(50), list(embeddings(50)))
    other = await catalog.create(spec("other"))
    await other.upsert(passages(3), list(embeddings(3)))
    await catalog.close()
    shorten_embedding(tmp_path, 20)

    with structlog.testing.capture_logs() as log:
        catalog = await Catalog.open(tmp_path)
        [found] = await (await catalog.get("other")).search(embeddings(3)[:1], 1)
        with pytest.raises(DataLoss, match="collection 'docs' is damaged and"):
            await (await catalog.get("docs")).search(embeddings(1), 1)

    assert ids(found) == ["p00000"]
    assert (await (await catalog.get("docs")).info()).state is State.DAMAGED
    assert [event["event"] for event in log] == ["collection damaged"]
    await catalog.close()


def shorten_embedding(data_dir: Path, label: int) -> None:
    for path in data_dir.glob("collections/*/store.db"):
        store = apsw.Connection(str(path))
        store.execute("UPDATE contents SET embedding = x'00' WHERE label = ?", (label,))
        store.close()


async def test_an_index_that_a_full_disk_keeps_out_comes_once_there_is_room(disk: Disk) -> None:
    catalog = await Catalog.open(disk.path / "data")
    docs = await catalog.create(spec(dimension=256))
    vectors = embeddings(1000, dimension=256)
    await docs.upsert(passages(1000), list(vectors))
    await catalog.close()
    disk.fill(leave=400_000)  # of the 1 MB for the vectors

    with structlog.testing.capture_logs() as log:
        catalog = await Catalog.open(disk.path / "data")
        docs = await catalog.get("docs")
        assert [p.id for p in await docs.get(["p00007"], View.FULL)] == ["p00007"]

        async def told() -> bool:
            return any(event["event"] == "collection not open" for event in log)

        async def ready() -> bool:
            return (await docs.info()).state is State.READY

        await until(told)
        with pytest.raises(StorageFull):
            await docs.search(vectors[30:31], 1)
        disk.free()
        await until(ready)

    [found] = await docs.search(vectors[30:31], 1)
    assert ids(found) == ["p00030"]
    await catalog.close()
