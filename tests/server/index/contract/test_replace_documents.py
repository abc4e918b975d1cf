"""A document that is loaded again leaves nothing of its earlier self behind."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from finesieve_server.errors import EmptyField
from finesieve_server.index.records import Embedding, Passage, Upserted, View
from tests.server.index.contract.engines import Collection, Open
from tests.server.index.corpus import embeddings, ids, spec

VECTORS = embeddings(200)


def part(document_id: str, ordinal: int) -> Passage:
    return Passage(f"{document_id}/{ordinal}", "text", document_id=document_id, ordinal=ordinal)


async def store(
    collection: Collection, passages: list[Passage], *, replace: bool = True
) -> Upserted:
    vectors: list[Embedding | None] = [
        None if each.context_only else VECTORS[at] for at, each in enumerate(passages)
    ]
    return await collection.upsert(passages, vectors, replace_documents=replace)


async def stored_ids(collection: Collection) -> list[str]:
    page, _ = await collection.page("", 1000, 1 << 30, None, View.ID)
    return [each.id for each in page]


async def test_a_shorter_document_leaves_no_stale_passages(collection: Collection) -> None:
    await store(collection, [part("a", n) for n in range(10)] + [part("b", n) for n in range(3)])

    upserted = await store(collection, [part("a", n) for n in range(4)])

    assert upserted == Upserted(inserted=0, updated=4, removed=6)
    assert await stored_ids(collection) == ["a/0", "a/1", "a/2", "a/3", "b/0", "b/1", "b/2"]
    assert (await collection.info()).passage_count == 7
    [found] = await collection.search(VECTORS[:1], 50)
    assert sorted(ids(found)) == await stored_ids(collection)


async def test_without_it_nothing_is_removed(collection: Collection) -> None:
    await store(collection, [part("a", n) for n in range(10)])

    upserted = await store(collection, [part("a", 0)], replace=False)

    assert upserted == Upserted(inserted=0, updated=1)
    assert len(await stored_ids(collection)) == 10


async def test_parents_of_the_document_are_replaced_with_it(collection: Collection) -> None:
    parents = [Passage(f"a/parent{n}", "", document_id="a", context_only=True) for n in range(3)]
    await store(collection, [*parents, *(part("a", n) for n in range(6))])

    upserted = await store(collection, [parents[0], part("a", 0)])

    assert upserted == Upserted(inserted=0, updated=2, removed=7)
    assert await stored_ids(collection) == ["a/0", "a/parent0"]


async def test_an_id_of_another_document_moves_and_leaves_that_one_as_it_is(
    collection: Collection,
) -> None:
    await store(collection, [part("a", 0), part("a", 1), part("b", 0)])

    upserted = await store(collection, [Passage("a/0", "moved", document_id="b")])

    assert upserted == Upserted(inserted=0, updated=1, removed=1)
    assert await stored_ids(collection) == ["a/0", "a/1"]
    moved, stayed = await collection.get(["a/0", "a/1"], View.FULL)
    assert (moved.document_id, stayed.document_id) == ("b", "a")


async def test_several_documents_are_replaced_together(collection: Collection) -> None:
    await store(collection, [part(name, n) for name in "abc" for n in range(5)])

    upserted = await store(collection, [part("a", 9), part("b", 0)])

    assert upserted == Upserted(inserted=1, updated=1, removed=9)
    assert await stored_ids(collection) == ["a/9", "b/0", *(f"c/{n}" for n in range(5))]


async def test_a_passage_of_no_document_cannot_replace_all_that_have_none(
    collection: Collection,
) -> None:
    await store(collection, [Passage("alone", "text")], replace=False)

    with pytest.raises(EmptyField) as refused:
        await store(collection, [part("a", 0), Passage("new", "text")])

    assert refused.value.field == "passages[1].document_id"
    assert await stored_ids(collection) == ["alone"]


async def test_a_name_with_a_nul_is_that_document_alone(collection: Collection) -> None:
    await store(collection, [part("a", 0), part("a\x00b", 0), part("a\x00c", 0)])

    upserted = await store(collection, [part("a\x00b", 1)])

    assert upserted.removed == 1
    assert await stored_ids(collection) == ["a\x00b/1", "a\x00c/0", "a/0"]


async def test_nothing_of_it_comes_back_after_a_restart(open_catalog: Open, tmp_path: Path) -> None:
    catalog = await open_catalog(tmp_path)
    collection = await catalog.create(spec("again"))
    await store(collection, [part("a", n) for n in range(100)])
    await store(collection, [part("a", n) for n in range(10)])
    await catalog.close()

    catalog = await open_catalog(tmp_path)
    [found] = await (await catalog.get("again")).search(VECTORS[50:51], 100)

    assert sorted(ids(found)) == [f"a/{n}" for n in range(10)]
    await catalog.close()


async def test_a_search_meanwhile_sees_the_old_document_or_the_new_never_both(
    collection: Collection,
) -> None:
    """Versions alternate between 20 and 5 passages, each saying in its title which it is."""

    def version(number: int) -> list[Passage]:
        count = 5 if number % 2 else 20
        return [Passage(f"a/{n}", "text", title=str(number), document_id="a") for n in range(count)]

    await store(collection, version(0))
    writing = asyncio.create_task(_write_versions(collection, [version(n) for n in range(1, 60)]))
    looks = 0
    while not writing.done():
        [found] = await collection.search(VECTORS[:1], 50)
        titles = {each.passage.title for each in found}
        assert len(titles) == 1, titles
        assert len(found) == (5 if int(titles.pop()) % 2 else 20)
        looks += 1
    await writing

    assert looks > 10
    assert np.unique(await stored_ids(collection)).size == 5


async def _write_versions(collection: Collection, versions: list[list[Passage]]) -> None:
    for version in versions:
        await store(collection, version)
