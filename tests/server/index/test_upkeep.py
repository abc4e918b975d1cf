"""What happens in the background: the graph grows, sheds its dead, is saved, slows writers."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from structlog.typing import EventDict

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.engine import Engine
from finesieve_server.index.records import HnswOptions, Passage, State
from finesieve_server.index.upkeep import MAX_BEHIND
from finesieve_server.index.vectors import GRAPH_FROM
from tests.server.index.corpus import embeddings, ids, nearest_ids, passages, spec


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as events:
        yield events


def engine_of(collection: Collection) -> Engine:
    assert collection._engine is not None
    return collection._engine


def count_files(data_dir: Path, pattern: str) -> int:
    return len(list(data_dir.glob(f"collections/*/{pattern}")))


async def test_few_vectors_have_no_graph_and_are_searched_exactly(collection: Collection) -> None:
    count = GRAPH_FROM - 1
    await collection.upsert(passages(count), list(embeddings(count)))
    await collection.settled()

    assert engine_of(collection).upkeep.vectors.graph is None
    query = embeddings(1, seed=5)
    [found] = await collection.search(query, 50)
    assert ids(found) == nearest_ids(embeddings(count), query[0], 50)


async def test_what_is_acknowledged_is_found_before_the_graph_has_it(
    collection: Collection,
) -> None:
    vectors = embeddings(8000)
    behind = []
    for start in range(0, 8000, 1000):
        await collection.upsert(passages(1000, start), list(vectors[start : start + 1000]))
        behind.append(engine_of(collection).upkeep.vectors.behind)
        found = await collection.search(vectors[start : start + 20], 1)
        assert [ids(row)[0] for row in found] == [f"p{start + n:05}" for n in range(20)]

    assert max(behind) > 0, "else this shows nothing"
    await collection.settled()
    assert engine_of(collection).upkeep.vectors.behind == 0


async def test_a_graph_that_is_mostly_dead_is_made_again_from_the_living(
    tmp_path: Path, log: list[EventDict]
) -> None:
    catalog = await Catalog.open(tmp_path)
    collection = await catalog.create(spec())
    vectors = embeddings(6000)
    await collection.upsert(passages(6000), list(vectors))
    await collection.settled()

    deleting = asyncio.create_task(collection.delete([f"p{n:05}" for n in range(3500)]))
    while not deleting.done():  # searches go on throughout
        found = await collection.search(vectors[5000:5010], 1)
        assert [ids(row)[0] for row in found] == [f"p{5000 + n:05}" for n in range(10)]
    new = embeddings(500, seed=3)
    await collection.upsert(passages(500, 6000), list(new))
    await collection.delete(["p05999"])
    await collection.settled()

    told = [event["event"] for event in log]
    assert told.count("index compaction finished") == 1
    slim = engine_of(collection).upkeep.vectors
    assert slim.count <= 3001
    assert slim.live_count == (await collection.info()).passage_count == 2999
    assert slim.graph is not None
    assert slim.graph.live == 2999
    found = await collection.search(new[:50], 1)
    assert [ids(row)[0] for row in found] == [f"p{6000 + n:05}" for n in range(50)]
    await catalog.close()

    catalog = await Catalog.open(tmp_path)
    await catalog.started()
    assert (await (await catalog.get("docs")).info()).state is State.READY
    found = await (await catalog.get("docs")).search(new[:50], 1)
    assert [ids(row)[0] for row in found] == [f"p{6000 + n:05}" for n in range(50)]
    assert count_files(tmp_path, "vectors-*.f32") == 1
    await catalog.close()


async def test_all_deleted_and_written_again_is_found_like_new(collection: Collection) -> None:
    vectors = embeddings(3000)
    for _ in range(3):
        await collection.upsert(passages(3000), list(vectors))
        await collection.delete([f"p{n:05}" for n in range(3000)])
    await collection.upsert(passages(3000), list(vectors))
    await collection.settled()

    queries = embeddings(50, seed=6)
    found = await collection.search(queries, 10)
    exact = await collection.search(queries, 10, exact=True)
    hits = sum(len(set(ids(a)) & set(ids(b))) for a, b in zip(found, exact, strict=True))
    assert hits >= 0.97 * 500
    assert engine_of(collection).upkeep.vectors.live_count == 3000


async def test_updating_everything_again_and_again_keeps_recall_and_size(
    collection: Collection,
) -> None:
    rounds = [embeddings(2500, seed=seed) for seed in range(4)]
    for vectors in rounds:
        for start in range(0, 2500, 500):
            await collection.upsert(passages(500, start), list(vectors[start : start + 500]))
    await collection.settled()

    queries = embeddings(50, seed=16)
    found = await collection.search(queries, 10)
    truth = [nearest_ids(rounds[-1], query, 10) for query in queries]
    hits = sum(len(set(ids(a)) & set(b)) for a, b in zip(found, truth, strict=True))
    assert hits >= 0.97 * 500
    assert engine_of(collection).upkeep.vectors.count <= 2 * 2500


async def test_a_bulk_load_waits_for_a_graph_that_is_far_behind(collection: Collection) -> None:
    vectors = embeddings(1000)
    far = 0
    for start in range(0, 3 * MAX_BEHIND // 2, 1000):
        await collection.upsert(passages(1000, start), list(vectors))
        far = max(far, engine_of(collection).upkeep.vectors.behind)

    assert far <= MAX_BEHIND


async def test_a_compaction_does_not_let_writes_run_further_ahead(catalog: Catalog) -> None:
    options = HnswOptions(m=8, ef_construction=50)
    collection = await catalog.create(replace(spec(dimension=4), hnsw=options))
    count = MAX_BEHIND + 4_000
    vectors = list(embeddings(1000, dimension=4))
    first = engine_of(collection).upkeep.vectors
    far = start = 0
    while engine_of(collection).upkeep.vectors is first:  # until it was compacted
        await collection.upsert(passages(1000, start % count), vectors)
        far = max(far, engine_of(collection).upkeep.vectors.behind)
        start += 1000

    assert far <= MAX_BEHIND
    await collection.settled()
    assert (await collection.info()).passage_count == count


async def test_a_snapshot_is_saved_after_enough_changes_while_serving(
    tmp_path: Path, log: list[EventDict]
) -> None:
    catalog = await Catalog.open(tmp_path, snapshot_changes=1000)
    collection = await catalog.create(spec())
    vectors = embeddings(6000)
    for start in range(0, 6000, 500):
        await collection.upsert(passages(500, start), list(vectors[start : start + 500]))
        await collection.search(vectors[:1], 1)
    await collection.settled()

    saved = [event for event in log if event["event"] == "snapshot saved"]
    assert saved
    assert count_files(tmp_path, "graph-*.hnsw") == 1
    await catalog.close()


async def test_a_large_collection_without_a_snapshot_serves_while_it_is_rebuilt(
    tmp_path: Path, log: list[EventDict]
) -> None:
    catalog = await Catalog.open(tmp_path)
    collection = await catalog.create(spec())
    vectors = embeddings(9000)
    await collection.upsert(passages(9000), list(vectors))
    collection.let_go(save=False)  # as after a crash
    catalog._collections.clear()
    await catalog.close()
    log.clear()

    catalog = await Catalog.open(tmp_path)
    collection = await catalog.get("docs")

    assert (await collection.info()).state is State.REBUILDING
    found = await collection.search(vectors[:20], 1)
    assert [ids(row)[0] for row in found] == [f"p{n:05}" for n in range(20)]
    await collection.upsert([Passage("new")], [embeddings(1, seed=8)[0]])
    await collection.settled()
    assert (await collection.info()).state is State.READY
    told = [event["event"] for event in log]
    assert told[0] == "snapshot not used"
    assert told[1] == "index rebuild started"
    assert "index rebuild finished" in told
    [found_new] = await collection.search(embeddings(1, seed=8), 1)
    assert ids(found_new) == ["new"]
    await catalog.close()


async def test_closing_does_not_wait_for_the_graph(tmp_path: Path) -> None:
    catalog = await Catalog.open(tmp_path)
    collection = await catalog.create(spec())
    await collection.upsert(passages(9000), list(embeddings(9000)))
    behind = engine_of(collection).upkeep.vectors.behind

    await catalog.close()

    assert behind > 1000
    assert engine_of(collection).upkeep.vectors.behind > 0
    catalog = await Catalog.open(tmp_path)
    found = await (await catalog.get("docs")).search(embeddings(9000)[-20:], 1)
    assert [ids(row)[0] for row in found] == [f"p{8980 + n:05}" for n in range(20)]
    await catalog.close()
