"""What is kept with passages for the models that score them: theirs alone, and never in the way."""

from collections.abc import Sequence
from pathlib import Path

import apsw
import numpy as np
import pytest

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.filters import Match
from finesieve_server.index.records import Passage, Untokenized
from finesieve_server.index.tokens import DROP_LABELS, WALK_LABELS, WALK_PASSAGES
from tests.server.index.corpus import embeddings, passages, spec
from tests.server.index.format_1 import write_directory


def tokens_for(names: Sequence[str]) -> list[bytes | None]:
    return [f"tokens of {name}".encode() for name in names]


async def store(collection: Collection, count: int, *keys: str, start: int = 0) -> None:
    batch = passages(count, start)
    tokens = tokens_for([each.id for each in batch])
    await collection.upsert(batch, list(embeddings(count)), dict.fromkeys(keys, tokens))


async def kept(collection: Collection, key: str) -> dict[str, bytes | None]:
    """Return what a search that finds every passage brings with each."""
    [found] = await collection.search(embeddings(1), 10**5, tokens_of=key, exact=True)
    return {each.passage.id: each.tokens for each in found}


async def walk(collection: Collection, *keys: str) -> list[Untokenized]:
    """Walk over all labels without keeping anything; return the steps."""
    steps = [await collection.lacking_tokens(keys, None)]
    while not steps[-1].is_last:
        steps.append(await collection.lacking_tokens(keys, steps[-1].through))
    return steps


def titles(steps: Sequence[Untokenized]) -> list[str]:
    return [title for step in steps for title, _ in step.passages]


def rows(collection: Collection, table: str) -> int:
    assert collection._engine is not None
    database = apsw.Connection(str(collection._engine.store.path))
    count: int = database.execute(f"SELECT count(*) FROM {table}").get
    database.close()
    return count


async def test_a_search_brings_the_tokens_of_the_key_that_it_names(collection: Collection) -> None:
    await collection.upsert(
        passages(2), list(embeddings(2)), {"a": [b"a0", b"a1"], "b": [b"", None]}
    )

    assert await kept(collection, "a") == {"p00000": b"a0", "p00001": b"a1"}
    assert await kept(collection, "b") == {"p00000": b"", "p00001": None}
    assert await kept(collection, "c") == {"p00000": None, "p00001": None}
    assert await kept(collection, "") == {"p00000": None, "p00001": None}


async def test_an_update_brings_its_own_tokens_and_none_of_the_old(collection: Collection) -> None:
    await store(collection, 3, "a", "b")

    await collection.upsert([Passage("p00001", text="new")], [embeddings(1)[0]], {"a": [b"new"]})

    assert (await kept(collection, "a"))["p00001"] == b"new"
    assert (await kept(collection, "b"))["p00001"] is None
    assert rows(collection, "passage_tokens") == 2 + 2 + 1


async def test_deleted_passages_leave_no_tokens(collection: Collection) -> None:
    await store(collection, 10, "a")

    await collection.delete(["p00001", "p00002"])
    await collection.delete_where(Match("number", [5]))

    assert rows(collection, "passage_tokens") == 7


async def test_a_store_without_the_tables_is_opened_and_gets_them(tmp_path: Path) -> None:
    write_directory(tmp_path, embeddings(5), with_tokens=False)

    catalog = await Catalog.open(tmp_path)

    collection = await catalog.get("docs")
    assert len(titles(await walk(collection, "a"))) == 5
    await store(collection, 1, "a", start=5)
    assert (await kept(collection, "a"))["p00005"] == b"tokens of p00005"
    await catalog.close()


async def test_a_walk_finds_what_lacks_tokens_under_any_key_in_small_steps(
    collection: Collection,
) -> None:
    await store(collection, 500, "a", "b")
    await store(collection, 200, "a", start=500)
    await store(collection, 100, start=700)

    steps = await walk(collection, "a", "b")

    assert titles(steps) == [f"title {number}" for number in range(500, 800)]
    assert max(len(step.passages) for step in steps) == WALK_PASSAGES
    assert titles(await walk(collection, "a")) == [f"title {number}" for number in range(700, 800)]


async def test_a_walk_over_many_complete_passages_takes_several_steps(
    collection: Collection,
) -> None:
    for start in range(0, WALK_LABELS + 10, 1000):
        await store(collection, 1000, "a", start=start)

    steps = await walk(collection, "a")

    assert [step.through for step in steps] == [WALK_LABELS, 5000]
    assert titles(steps) == []


async def test_a_context_only_passage_lacks_nothing(collection: Collection) -> None:
    await collection.upsert([Passage("parent", text="x", context_only=True)], [None])

    assert titles(await walk(collection, "a")) == []


async def test_what_a_walk_made_is_kept_unless_its_passage_is_gone(collection: Collection) -> None:
    await store(collection, 3)
    found = await collection.lacking_tokens(["a"], None)
    await collection.delete(["p00001"])

    updated = (await collection.info()).update_time
    await collection.keep_tokens(found, {"a": tokens_for(["p00000", "p00001", "p00002"])})

    assert await kept(collection, "a") == {
        "p00000": b"tokens of p00000",
        "p00002": b"tokens of p00002",
    }
    assert rows(collection, "passage_tokens") == 2
    assert (await collection.info()).update_time == updated, "what is derived is no update"


async def test_a_walk_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    catalog = await Catalog.open(tmp_path)
    collection = await catalog.create(spec())
    await store(collection, 100)
    found = await collection.lacking_tokens(["a"], None)
    await collection.keep_tokens(found, {"a": [b"x"] * len(found.labels)})
    await catalog.close()

    catalog = await Catalog.open(tmp_path)
    following = await (await catalog.get("docs")).lacking_tokens(["a"], None)

    assert following.labels == [*range(found.through + 1, 101)]
    assert following.is_last
    assert titles(await walk(await catalog.get("docs"), "a", "b"))[0] == "title 0", "b lacks all"
    await catalog.close()


async def test_tokens_of_other_keys_are_dropped_in_steps(collection: Collection) -> None:
    for start in range(0, 2 * DROP_LABELS, 1024):
        await store(collection, 1024, "a", "b", start=start)

    assert await collection.drop_other_tokens(["b"], 0) == DROP_LABELS
    assert rows(collection, "passage_tokens") == 3 * DROP_LABELS
    assert await collection.drop_other_tokens(["b"], DROP_LABELS) == 2 * DROP_LABELS
    assert await collection.drop_other_tokens(["b"], 2 * DROP_LABELS) is None

    assert rows(collection, "passage_tokens") == 2 * DROP_LABELS
    assert rows(collection, "tokenizers") == 1
    assert None not in (await kept(collection, "b")).values()


async def test_tokens_that_were_half_dropped_are_walked_over_from_the_start(
    collection: Collection,
) -> None:
    await store(collection, 10, "a")
    await collection.keep_tokens(await collection.lacking_tokens(["a"], None), {"a": []})
    assert titles(await walk(collection, "a")) == []

    await collection.drop_other_tokens(["b"], 0)

    assert len(titles(await walk(collection, "a"))) == 10


async def test_a_batch_that_is_refused_leaves_no_tokens(collection: Collection) -> None:
    batch = [*passages(1), Passage("bad", metadata={"x": float("nan")})]

    with pytest.raises(InvalidArgument, match="metadata"):
        await collection.upsert(batch, list(embeddings(2)), {"a": [b"0", b"1"]})

    assert rows(collection, "passage_tokens") == 0


async def test_searches_of_many_queries_bring_tokens_too(collection: Collection) -> None:
    await store(collection, 3000, "a")

    found = await collection.search(np.asarray(embeddings(40, seed=3)), 5, tokens_of="a")

    assert all(
        each.tokens == f"tokens of {each.passage.id}".encode() for row in found for each in row
    )
