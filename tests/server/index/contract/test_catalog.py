"""Which collections there are, whichever engine holds them."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from finesieve_server.errors import AlreadyExists, CollectionNotFound, Unavailable
from finesieve_server.index.records import CollectionSpec, Distance, HnswOptions, View
from tests.server.index.contract.engines import Catalog, Open
from tests.server.index.corpus import embeddings, ids, passages, spec


async def names(catalog: Catalog, after: str = "", limit: int = 100) -> list[str]:
    return [collection.spec.name for collection in await catalog.page(after, limit)]


async def test_a_collection_is_there_again_after_a_restart_as_it_was_made(
    open_catalog: Open, tmp_path: Path
) -> None:
    made = CollectionSpec("d", "m", "f", 7, Distance.L2, HnswOptions(8, 99, 33), True)
    catalog = await open_catalog(tmp_path)
    collection = await catalog.create(made)
    await collection.upsert(passages(3), list(embeddings(3, dimension=7)))
    before = await collection.info()
    await catalog.close()

    catalog = await open_catalog(tmp_path)

    assert await (await catalog.get("d")).info() == before
    assert before.spec == made
    assert abs(before.create_time - datetime.now(UTC)) < timedelta(minutes=5)
    await catalog.close()


async def test_a_name_is_given_once(catalog: Catalog) -> None:
    await catalog.create(spec())

    with pytest.raises(AlreadyExists):
        await catalog.create(spec())
    both = await asyncio.gather(
        catalog.create(spec("twice")), catalog.create(spec("twice")), return_exceptions=True
    )

    assert [isinstance(outcome, AlreadyExists) for outcome in both].count(True) == 1


async def test_pages_list_collections_by_name(catalog: Catalog) -> None:
    for name in ("b", "a", "d", "c"):
        await catalog.create(spec(name))

    assert await names(catalog) == ["a", "b", "c", "d"]
    assert await names(catalog, after="a", limit=2) == ["b", "c"]
    assert await names(catalog, after="d") == []


async def test_deleting_under_load_answers_every_call(catalog: Catalog) -> None:
    collection = await catalog.create(spec())
    vectors = embeddings(100)
    calls = [collection.upsert(passages(100), list(vectors)) for _ in range(10)]
    searches = [collection.search(vectors[:5], 5) for _ in range(30)]
    running = [asyncio.ensure_future(call) for call in (*calls, *searches)]
    await asyncio.sleep(0)

    await catalog.delete("docs")

    outcomes = await asyncio.gather(*running, return_exceptions=True)
    failures = [each for each in outcomes if isinstance(each, BaseException)]
    assert all(isinstance(each, CollectionNotFound | Unavailable) for each in failures), failures
    with pytest.raises(CollectionNotFound):
        await collection.search(vectors[:1], 1)


async def test_a_deleted_collection_is_gone_and_its_name_is_free(
    open_catalog: Open, tmp_path: Path
) -> None:
    catalog = await open_catalog(tmp_path)
    first = await catalog.create(spec("my-docs"))
    await first.upsert(passages(3), list(embeddings(3)))

    await catalog.delete("my-docs")

    with pytest.raises(CollectionNotFound):
        await catalog.get("my-docs")
    with pytest.raises(CollectionNotFound):
        await catalog.delete("my-docs")
    second = await catalog.create(spec("my-docs"))
    assert (await second.info()).passage_count == 0
    await catalog.close()
    catalog = await open_catalog(tmp_path)
    assert await names(catalog) == ["my-docs"]
    assert (await (await catalog.get("my-docs")).info()).passage_count == 0
    await catalog.close()


async def test_passages_are_there_again_after_a_restart(open_catalog: Open, tmp_path: Path) -> None:
    vectors = embeddings(50)
    catalog = await open_catalog(tmp_path)
    collection = await catalog.create(spec())
    await collection.upsert(passages(50), list(vectors))
    await collection.delete(["p00003"])
    before, _ = await collection.page("", 100, 1 << 20, None, View.WITH_EMBEDDING)
    await catalog.close()

    catalog = await open_catalog(tmp_path)
    collection = await catalog.get("docs")

    assert (await collection.info()).passage_count == 49
    after, _ = await collection.page("", 100, 1 << 20, None, View.WITH_EMBEDDING)
    assert [each.id for each in after] == [each.id for each in before]
    found = await collection.search(vectors[:20], 1)
    assert [ids(each) == [f"p{n:05}"] for n, each in enumerate(found)].count(False) == 1
    await catalog.close()
