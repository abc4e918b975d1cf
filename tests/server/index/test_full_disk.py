"""A full disk refuses writes and nothing else, and takes them again once there is room."""

import pytest
import structlog

from finesieve_server.errors import StorageFull
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.records import Passage, View
from tests.server.index.corpus import embeddings, ids, spec
from tests.server.index.disk import Disk

TEXT = "a text of some length " * 20


def batch(number: int) -> list[Passage]:
    return [
        Passage(f"b{number:03}-{n:02}", text=TEXT, metadata={"batch": number}) for n in range(50)
    ]


async def require_stored(collection: Collection, batches: list[int]) -> None:
    """These batches are there, whole, and are found; no other is."""
    page, _ = await collection.page("", 10**6, 1 << 40, None, View.ID)
    assert [p.id for p in page] == [p.id for number in batches for p in batch(number)]
    assert (await collection.info()).passage_count == len(page)
    for number in batches[:3] + batches[-3:]:
        [found] = await collection.search(embeddings(50, seed=number)[:1], 1)
        assert ids(found) == [f"b{number:03}-00"]


async def test_writes_stop_and_resume_without_a_restart_and_reads_never_stop(
    disk: Disk,
) -> None:
    catalog = await Catalog.open(disk.path / "data")
    collection = await catalog.create(spec())
    stored: list[int] = []

    async def write(number: int) -> None:
        await collection.upsert(batch(number), list(embeddings(50, seed=number)))
        stored.append(number)

    await write(0)
    refusals = 0
    for number in range(1, 25):
        # From nothing left to almost enough: the disk fills at another step of the write each time.
        disk.fill(leave=number * 4096)
        try:
            await write(number)
        except StorageFull:
            refusals += 1
        await require_stored(collection, sorted(stored))
        disk.free()
        if number % 5 == 0:
            await write(100 + number)
    await write(200)

    assert refusals >= 10
    await require_stored(collection, sorted(stored))
    await catalog.close()
    catalog = await Catalog.open(disk.path / "data")
    await require_stored(await catalog.get("docs"), sorted(stored))
    await catalog.close()


async def test_deletes_of_passages_on_a_full_disk_are_whole_or_refused(disk: Disk) -> None:
    catalog = await Catalog.open(disk.path / "data")
    collection = await catalog.create(spec())
    for number in range(3):
        await collection.upsert(batch(number), list(embeddings(50, seed=number)))
    disk.fill()

    try:
        assert await collection.delete([p.id for p in batch(1)]) == 50
        left = [0, 2]
    except StorageFull:
        left = [0, 1, 2]

    await require_stored(collection, left)
    disk.free()
    await catalog.close()


async def test_a_collection_can_be_deleted_on_a_full_disk_and_none_made(disk: Disk) -> None:
    catalog = await Catalog.open(disk.path / "data")
    kept, large = await catalog.create(spec()), await catalog.create(spec("large"))
    await kept.upsert(batch(0), list(embeddings(50, seed=0)))
    for number in range(20):
        await large.upsert(batch(number), list(embeddings(50, seed=number)))
    disk.fill()

    with pytest.raises(StorageFull):
        await catalog.create(spec("more"))
    await catalog.delete("large")

    await require_stored(kept, [0])
    assert [collection.spec.name for collection in await catalog.page("", 10)] == ["docs"]
    assert len(list((disk.path / "data" / "collections").iterdir())) == 1
    disk.free()
    await kept.upsert(batch(1), list(embeddings(50, seed=1)))
    await catalog.close()


async def test_an_index_that_cannot_be_saved_is_told_and_made_again(disk: Disk) -> None:
    catalog = await Catalog.open(disk.path / "data")
    collection = await catalog.create(spec())
    vectors = embeddings(2500)
    await collection.upsert([Passage(f"p{n:04}") for n in range(2500)], list(vectors))
    await collection.settled()
    disk.fill(leave=100_000)

    with structlog.testing.capture_logs() as log:
        await catalog.close()
    assert [event["event"] for event in log] == ["snapshot not saved"]
    disk.free()
    catalog = await Catalog.open(disk.path / "data")

    found = await (await catalog.get("docs")).search(vectors[:20], 1)
    assert [ids(row)[0] for row in found] == [f"p{n:04}" for n in range(20)]
    await catalog.close()


async def test_a_start_on_a_full_disk_says_so(disk: Disk) -> None:
    catalog = await Catalog.open(disk.path / "data")
    await catalog.create(spec())
    await catalog.close()
    disk.fill()

    with pytest.raises(StorageFull):
        await Catalog.open(disk.path / "data")

    disk.free()
    catalog = await Catalog.open(disk.path / "data")
    assert (await (await catalog.get("docs")).info()).passage_count == 0
    await catalog.close()
