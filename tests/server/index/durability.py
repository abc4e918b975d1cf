"""Say whether a collection holds what was acknowledged, and whether its index equals its store."""

from pathlib import Path

import apsw
import numpy as np
import pytest

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.filters import Match
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import View
from tests.server.index.corpus import DIMENSION, ids
from tests.server.index.writer_process import apply, embedding


class Ledger:
    """What must be in the store: which operation wrote each passage that is left."""

    def __init__(self, *, with_tokens: bool) -> None:
        self._with_tokens = with_tokens  # whether passages are written with kept tokens
        self.state: dict[str, int] = {}
        self.done = 0  # operations that are in the store

    def acknowledge(self, numbers: list[int]) -> None:
        """Note operations that were answered; they follow those before without a gap."""
        assert numbers == list(range(self.done, self.done + len(numbers)))
        for number in numbers:
            self.state = apply(self.state, number)
        self.done += len(numbers)

    async def require(self, data_dir: Path, *, close: bool) -> None:
        """Open the directory and compare; leave it closed, or as a crash would leave it."""
        catalog = await Catalog.open(data_dir)
        if not await catalog.page("", 1):
            assert not self.state, "the collection is gone"
            await catalog.close()
            return
        collection = await catalog.get("docs")
        stored = await stored_state(collection)
        # The one under way may be in the store, whole, though nobody was told.
        with_one_more = apply(self.state, self.done)
        assert stored in (self.state, with_one_more), f"after operation {self.done - 1}"
        if stored != self.state:
            self.state, self.done = with_one_more, self.done + 1
        await require_equal_index(collection, self.state)
        if close:
            await catalog.close()
        else:
            abandon(catalog)
        require_sound_store(data_dir, with_tokens=self._with_tokens)


async def stored_state(collection: Collection) -> dict[str, int]:
    page, more = await collection.page("", 10**6, 1 << 40, None, View.FULL)
    assert not more
    assert (await collection.info()).passage_count == len(page)
    assert len({passage.id for passage in page}) == len(page), "no duplicates"
    for passage in page:
        assert passage.text == f"by {passage.metadata['by']:.0f}"
    return {passage.id: int(passage.text.removeprefix("by ")) for passage in page}


async def require_equal_index(collection: Collection, state: dict[str, int]) -> None:
    """Every passage is found by its own vector, nothing else is, and filters agree."""
    probes = list(state)[:: max(1, len(state) // 50)]
    queries = np.array([embedding(id_, state[id_]) for id_ in probes]).reshape(-1, DIMENSION)
    truth = await collection.search(queries, 10, exact=True, view=View.ID)
    near = await collection.search(queries, 10, ef_search=200, view=View.ID)
    for found in (truth, near):
        assert [ids(row)[0] for row in found] == probes
        assert all(row[0].score == pytest.approx(1, abs=1e-6) for row in found)
    pairs = list(zip(near, truth, strict=True))
    hits = sum(len(set(ids(row)) & set(ids(best))) for row, best in pairs)
    assert hits >= 0.995 * sum(len(best) for best in truth)
    for row in await collection.search(queries[:2], len(state) + 10, exact=True, view=View.ID):
        assert sorted(ids(row)) == sorted(state)
    for bucket in (0, 1):
        page, _ = await collection.page("", 10**6, 1 << 40, Match("bucket", [bucket]), View.ID)
        assert {passage.id for passage in page} == {
            id_ for id_ in state if int(id_[1:]) % 40 == bucket
        }


def abandon(catalog: Catalog) -> None:
    """Let go of the files as a kill would: without saving anything."""
    for collection in catalog._collections.values():
        collection.let_go(save=False)
    catalog._shared.readers.shutdown()
    catalog._directory.close()


def require_sound_store(data_dir: Path, *, with_tokens: bool) -> None:
    [folder] = (data_dir / "collections").iterdir()
    for path in (data_dir / "catalog.db", folder / "store.db"):
        database = apsw.Connection(str(path))
        assert database.execute("PRAGMA integrity_check").get == "ok"
        database.close()
    store = apsw.Connection(str(folder / "store.db"))
    for table in ("contents", "passage_fields", "passage_tokens"):
        orphans = f"SELECT count(*) FROM {table} WHERE label NOT IN (SELECT label FROM passages)"
        assert store.execute(orphans).get == 0
    passages = store.execute("SELECT count(*) FROM passages").get
    assert store.execute("SELECT count(*) FROM contents").get == passages
    kept = store.execute("SELECT count(*) FROM passage_tokens").get
    assert kept == (passages if with_tokens else 0)
    reader = Reader(store)
    reader.lexical.require_equal(reader.labels_to_retrieve(), reader.texts)
    store.close()
