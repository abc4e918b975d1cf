"""Texts are read once, of what comes back alone, and only where they fit into the answer."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from finesieve_server.errors import AnswerTooLarge
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.records import (
    CollectionSpec,
    Distance,
    Found,
    HnswOptions,
    Passage,
    View,
)
from finesieve_server.search.call import Call
from finesieve_server.search.embedder import Embedder
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.retriever import Mode, Query, RetrievalOptions, Retriever

SPEC = CollectionSpec("docs", "", "", 4, Distance.COSINE, HnswOptions(), True)
COUNT = 200
CALL = Call(deadline=1e9)
QUERIES = [
    Query(embedding=vector, words=f"sieve w{row}")
    for row, vector in enumerate(np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32))
]


class Watched:
    """A collection, and how many passages it has given with more than their ids."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self.spec = SPEC
        self.given = 0

    async def search(self, *args: Any, **options: Any) -> list[list[Found]]:
        return self._counted(await self._collection.search(*args, **options))

    async def search_lexical(self, *args: Any, **options: Any) -> list[list[Found]]:
        return self._counted(await self._collection.search_lexical(*args, **options))

    async def read(self, *args: Any, **options: Any) -> list[list[Found]]:
        return self._counted(await self._collection.read(*args, **options))

    async def get(self, _name: str) -> "Watched":
        return self

    def _counted(self, rankings: list[list[Found]]) -> list[list[Found]]:
        self.given += sum(bool(each.passage.text) for ranking in rankings for each in ranking)
        return rankings


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    catalog = await Catalog.open(tmp_path / "data")
    collection = await catalog.create(SPEC)
    passages = [Passage(f"p{n}", text=f"sieve w{n % 10} " + "x" * 1000) for n in range(COUNT)]
    vectors = np.random.default_rng(0).normal(size=(COUNT, 4)).astype(np.float32)
    await collection.upsert(passages, list(vectors), {"key": [b"kept"] * COUNT})
    yield Watched(collection)
    await catalog.close()


def retriever(watched: Watched) -> Retriever:
    return Retriever(cast("Any", watched), cast("Models", None), cast("Embedder", None), Limits())


@pytest.mark.parametrize("mode", list(Mode))
async def test_many_queries_whose_hits_fit_into_no_answer_cost_no_text(
    watched: Watched, mode: Mode
) -> None:
    options = RetrievalOptions(COUNT, mode, max_bytes=100_000)

    with pytest.raises(AnswerTooLarge):
        await retriever(watched).retrieve("docs", QUERIES, options, CALL, paths=[""] * 8)

    assert watched.given == 0


async def test_of_fused_rankings_only_what_comes_back_is_read(watched: Watched) -> None:
    options = RetrievalOptions(12, Mode.HYBRID)

    ranking = await retriever(watched).retrieve_together(
        "docs", QUERIES, options, CALL, paths=[""] * 8, tokens_of="key"
    )

    assert watched.given == len(ranking) == 12
    assert [each.score for each in ranking] == sorted((e.score for e in ranking), reverse=True)
    assert {each.tokens for each in ranking} == {b"kept"}


@pytest.mark.parametrize("mode", list(Mode))
async def test_what_is_read_afterwards_is_what_is_read_at_once(
    watched: Watched, mode: Mode
) -> None:
    few, many = RetrievalOptions(10, mode), RetrievalOptions(20, mode, view=View.FULL)

    alone = [
        (await retriever(watched).retrieve("docs", [query], few, CALL))[0] for query in QUERIES
    ]
    together = await retriever(watched).retrieve("docs", QUERIES, many, CALL, paths=[""] * 8)

    if mode is not Mode.HYBRID:  # deeper rankings fuse into others
        assert [ranking[:10] for ranking in together] == alone
    assert all(each.passage.text for ranking in together for each in ranking)
