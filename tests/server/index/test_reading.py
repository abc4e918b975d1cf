"""Reads of the embedded index end with their callers, and leave threads to others."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from finesieve_server.errors import Unavailable
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.exact import BLOCK_ROWS, nearest_of
from finesieve_server.index.filters import NoneOf, Range
from finesieve_server.index.records import Distance, Passage, View
from finesieve_server.index.store import Store
from tests.server.index.corpus import embeddings, passages


async def test_a_search_that_nobody_waits_for_frees_its_thread(
    catalog: Catalog, collection: Collection
) -> None:
    for start in range(0, 5000, 1000):
        await collection.upsert(passages(1000, start), list(embeddings(1000)))
    # Every passage is tested against every range, and none is taken: seconds of work.
    no_range = NoneOf([Range("number", gte=10_000 + n) for n in range(900)])
    walks = [
        asyncio.create_task(collection.page("", 1, 1, NoneOf([no_range]), View.ID))
        for _ in range(16)
    ]
    await asyncio.sleep(0)

    for walk in walks:
        walk.cancel()
    await asyncio.gather(*walks, return_exceptions=True)

    freed = threading.Event()
    catalog._shared.readers.submit(freed.set)
    assert await asyncio.to_thread(freed.wait, 5)


async def test_many_exact_queries_of_one_call_leave_threads_to_others(
    collection: Collection,
) -> None:
    for start in range(0, 5000, 1000):
        await collection.upsert(passages(1000, start), list(embeddings(1000)))
    many = asyncio.create_task(
        collection.search(embeddings(1000, seed=4), 10, exact=True, view=View.ID)
    )

    others = 0
    while not many.done():
        await collection.get([passages(1)[0].id], View.ID)
        others += 1

    assert others > 20, "they do not wait for all that the call has to ask"
    assert len(await many) == 1000


class Patience:
    """A caller who gives up when it has been asked so often whether it still waits."""

    def __init__(self, times: int) -> None:
        self.left = times

    def ended(self) -> bool:
        self.left -= 1
        return self.left < 0

    def require(self) -> None:
        if self.ended():
            raise Unavailable("over")


def test_an_exact_search_that_nobody_waits_for_ends_at_its_next_block() -> None:
    vectors = np.ones((10 * BLOCK_ROWS, 2), np.float32)
    slots = np.arange(len(vectors))
    patience = Patience(3)

    with pytest.raises(Unavailable):
        nearest_of(Distance.DOT, vectors[:1], vectors, slots, 5, patience.require)

    assert patience.left == -1, "asked before each block, and not again"


def test_a_lexical_search_that_nobody_waits_for_ends_at_its_next_word(tmp_path: Path) -> None:
    Store.create(path := tmp_path / "store.db", "uid")
    store = Store(path)
    words = " ".join(f"w{number}" for number in range(50))
    with store.writing() as writer:
        writer.add([Passage("p", text=words)], [None])
    patience = Patience(10)

    with pytest.raises(Unavailable), store.reading(patience.ended) as reader:
        reader.lexical.find(words, 5, reader, None)

    assert patience.left == -1
    store.close()
