"""Reads of the embedded index that nobody waits for any more."""

import asyncio
import threading

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.filters import NoneOf, Range
from finesieve_server.index.records import View
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
