"""What Milvus cannot hold is refused by name before it is sent."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pymilvus import DataType, MilvusClient

from finesieve_server.errors import (
    AlreadyExists,
    CollectionNotFound,
    FailedPrecondition,
    InvalidArgument,
)
from finesieve_server.index.milvus import schema
from finesieve_server.index.milvus.catalog import Catalog
from finesieve_server.index.milvus.connection import Address
from finesieve_server.index.records import JsonValue, Passage
from tests.server.index.corpus import embeddings, spec


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = await Catalog.open(Address(str(tmp_path / "milvus.db")))
    yield opened
    await opened.close()


MANY: Mapping[str, JsonValue] = {"x": [float(n) for n in range(5000)]}
LARGE: Mapping[str, JsonValue] = {f"field {n}": "v" * 20 for n in range(1300)}


@pytest.mark.parametrize(
    ("passage", "field", "problem"),
    [
        (Passage("a", text="é" * 40_000), "text", "80000 bytes with its title in Milvus"),
        (Passage("a", text="x" * 60_000, title="y" * 6_000), "text", "at most 65535"),
        (Passage("a", metadata={"x": "z" * 70_000}), "metadata", "at most 65535"),
        (Passage("a", metadata=MANY), "metadata", "5002 terms"),
        (Passage("a", metadata=LARGE), "metadata", "of values to compare in Milvus"),
        (Passage("a", metadata={"x": 2**70}), "metadata", "64-bit"),
    ],
)
async def test_a_passage_too_large_for_milvus_is_refused_by_name(
    catalog: Catalog, passage: Passage, field: str, problem: str
) -> None:
    collection = await catalog.create(spec())

    with pytest.raises(InvalidArgument, match=problem) as refusal:
        await collection.upsert([Passage("good"), passage], list(embeddings(2)))

    assert refusal.value.field == f"passages[1].{field}"
    assert (await collection.info()).passage_count == 0


async def test_collections_of_others_are_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    client = MilvusClient(str(tmp_path / "milvus.db"))
    theirs = MilvusClient.create_schema(auto_id=False)
    theirs.add_field("id", DataType.INT64, is_primary=True)
    theirs.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for name in ("theirs", "finesieve_docs"):
        client.create_collection(name, schema=theirs)

    assert await catalog.page("", 10) == []
    with pytest.raises(CollectionNotFound):
        await catalog.get("docs")
    with pytest.raises(CollectionNotFound):
        await catalog.delete("docs")
    with pytest.raises(AlreadyExists):
        await catalog.create(spec("docs"))
    assert sorted(client.list_collections()) == ["finesieve_docs", "theirs"]


async def test_a_collection_in_another_format_is_refused_and_hides_no_others(
    catalog: Catalog, tmp_path: Path
) -> None:
    await catalog.create(spec("ours"))
    older = {
        name: value.replace(f'"format": {schema.FORMAT}', '"format": 1')
        for name, value in schema.properties_of(spec("docs"), datetime.now(UTC), "").items()
    }
    MilvusClient(str(tmp_path / "milvus.db")).create_collection(
        "finesieve_docs",
        schema=schema.schema_of(spec("docs")),
        index_params=schema.indexes_of(spec("docs"), of_terms=False),
        properties=older,
    )

    with pytest.raises(FailedPrecondition, match=r"format 1.*format 2.*drop finesieve_docs"):
        await catalog.get("docs")
    assert [each.spec.name for each in await catalog.page("", 10)] == ["ours"]


async def test_context_makes_no_word_common(catalog: Catalog) -> None:
    with_context, without = await catalog.create(spec("a")), await catalog.create(spec("b"))
    texts = {"x": "sieve", "y": "sand dust", "z": "other"}
    found = [Passage(id_, text=text) for id_, text in texts.items()]
    context = Passage("context", text="sand sand", context_only=True)
    await without.upsert(found, list(embeddings(3)))
    await with_context.upsert([*found, context], [*embeddings(3), None])

    [there] = await with_context.search_lexical(["sieve sand"], 10)
    [alone] = await without.search_lexical(["sieve sand"], 10)

    assert [each.passage.id for each in there] == [each.passage.id for each in alone]
    assert [each.score for each in there] == pytest.approx([each.score for each in alone])


async def test_a_collection_that_another_server_made_again_is_noticed(
    catalog: Catalog, tmp_path: Path
) -> None:
    other = await Catalog.open(Address(str(tmp_path / "milvus.db")))
    await catalog.create(spec("docs"))
    first = await other.get("docs")

    await catalog.delete("docs")
    with pytest.raises(CollectionNotFound):
        await first.upsert([Passage("a")], list(embeddings(1)))

    await other.close()
