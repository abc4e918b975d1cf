"""How retrieving, merging, reranking, choosing and widening follow each other."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.records import Found, Passage, View
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.context import Context, ContextReader
from finesieve_server.search.hits import SearchHit
from finesieve_server.search.limits import Limits
from finesieve_server.search.ranking import Ranked, Ranking, Score, ScoreStatus, Usage
from finesieve_server.search.retriever import Query, RetrievalOptions
from finesieve_server.search.two_stage import SearchQuery, TwoStage
from tests.server.index.corpus import DIMENSION, spec

LEAVES = 12  # of four parents


class Nearest:
    """Finds the leaves nearest to a number: its own embedding."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self.views: list[View] = []

    async def retrieve_together(
        self,
        name: str,
        queries: Sequence[Query],
        options: RetrievalOptions,
        call: Call,
        *,
        paths: Sequence[str],
        tokens_of: str = "",
    ) -> Sequence[Found]:
        self.views.append(options.view)
        vectors = np.stack([direction(float(query.text)) for query in queries])
        [found] = await self._collection.search(vectors, options.top_k, view=options.view)
        return found


class Shortest:
    """Prefers short texts, and remembers what it was given, and until when."""

    def __init__(self, *, scores: int = 1000) -> None:
        self.asked: list[Candidate] = []
        self.deadlines: list[float] = []
        self._scores = scores

    def tokens_key(self, options: RerankOptions) -> str:
        return "key"

    async def rank(
        self, query: str, candidates: Sequence[Candidate], options: RerankOptions, call: Call
    ) -> Ranking:
        self.asked = list(candidates)
        self.deadlines.append(call.deadline)
        ranked = [
            Ranked(at, ScoreStatus.SCORED, Score(0, 0.5, -len(each.text)))
            if at < self._scores
            else Ranked(at, ScoreStatus.DEADLINE)
            for at, each in enumerate(candidates)
        ]
        ranked.sort(key=lambda each: -each.score.ordering if each.score else 1e9)
        return Ranking(ranked, "short", 0.0, len(ranked) > self._scores, False, Usage())


def direction(number: float) -> np.ndarray:
    angle = number / 20
    return np.array([np.cos(angle), np.sin(angle)] + [0] * (DIMENSION - 2), np.float32)


@pytest.fixture
async def collection(tmp_path: Path) -> AsyncIterator[Collection]:
    catalog = await Catalog.open(tmp_path)
    collection = await catalog.create(spec())
    leaves = [
        Passage(
            f"leaf{n:02}",
            f"the text of leaf {n}",
            metadata={"n": n},
            document_id="d",
            ordinal=n,
            parent_id=f"parent{n // 3}",
        )
        for n in range(LEAVES)
    ]
    parents = [
        Passage(f"parent{n}", f"text {n}", document_id="d", ordinal=n, context_only=True)
        for n in range(LEAVES // 3)
    ]
    vectors = [direction(n) for n in range(LEAVES)]
    await collection.upsert([*leaves, *parents], [*vectors, *([None] * len(parents))])
    yield collection
    await catalog.close()


class Search:
    """Both stages over the collection, with a fake at either end."""

    def __init__(self, collection: Collection, reranker: Shortest | None = None) -> None:
        self.retriever = Nearest(collection)
        self.reranker = reranker or Shortest()
        stages: Any = TwoStage
        catalog: Any = Only(collection)
        self._stages = stages(self.retriever, self.reranker, ContextReader(catalog), Limits())

    async def __call__(self, text: str, **fields: Any) -> list[SearchHit]:
        retrieval = RetrievalOptions(top_k=fields.pop("retrieve_k", 6), view=View.ID)
        retrieval = replace(retrieval, **fields.pop("retrieval", {}))
        query = {"rerank": RerankOptions(), "top_n": 10, **fields}
        asked = SearchQuery(collection="docs", text=text, retrieval=retrieval, **query)
        hits: list[SearchHit] = (await self._stages.search(asked, Call(100.0))).hits
        return hits


class Only:
    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def get(self, name: str) -> Collection:
        return self._collection


def ids(hits: Sequence[SearchHit]) -> list[str]:
    return [each.retrieved.passage.id for each in hits]


async def test_merging_comes_before_reranking_and_reads_the_parents_text(
    collection: Collection,
) -> None:
    search = Search(collection)

    hits = await search("4", retrieve_k=4, context=Context(merge_share=1.0))

    assert [each.text for each in search.reranker.asked] == ["text 1", "the text of leaf 2"]
    assert search.reranker.asked[0].tokens is None
    assert ids(hits) == ["parent1", "leaf02"]
    merged = hits[0].retrieved
    assert (merged.rank, merged.merged_ids[0]) == (1, "leaf04")
    assert merged.score == pytest.approx(1.0)
    assert sorted(merged.merged_ids) == ["leaf03", "leaf04", "leaf05"]
    assert hits[1].retrieved.rank == 4


async def test_without_the_second_stage_merged_parents_keep_the_first_stages_order(
    collection: Collection,
) -> None:
    search = Search(collection)

    hits = await search("4", retrieve_k=4, rerank=None, context=Context(merge_share=0.3))

    assert ids(hits) == ["parent1", "parent0"]
    assert [hit.ranked for hit in hits] == [None, None]


async def test_windows_stand_around_the_hits_that_come_back(collection: Collection) -> None:
    hits = await Search(collection)(
        "6", top_n=2, context=Context(window=2, max_bytes=1000), rerank=None
    )

    [before, after] = hits[0].neighbours.before, hits[0].neighbours.after
    assert [each.id for each in before] == ["leaf04", "leaf05"]
    assert [each.id for each in after] == ["leaf07", "leaf08"]
    assert before[0].text == "", "the view of the request holds for windows too"
    assert len(hits) == 2


async def test_a_merged_parents_window_has_parents(collection: Collection) -> None:
    [hit] = await Search(collection)(
        "4", retrieve_k=3, context=Context(window=5, merge_share=1.0, max_bytes=1000)
    )

    assert [each.id for each in hit.neighbours.before] == ["parent0"]
    assert [each.id for each in hit.neighbours.after] == ["parent2", "parent3"]


async def test_diversity_chooses_before_the_cut_and_reads_embeddings_only_then(
    collection: Collection,
) -> None:
    search = Search(collection)

    plain = await search("0", retrieve_k=12, rerank=None, top_n=3)
    diverse = await search("0", retrieve_k=12, rerank=None, top_n=3, relevance_weight=0.3)
    alike = await search("0", retrieve_k=12, rerank=None, top_n=3, relevance_weight=1.0)

    assert ids(plain) == ids(alike) == ["leaf00", "leaf01", "leaf02"]
    assert ids(diverse)[0] == "leaf00"
    assert "leaf11" in ids(diverse)
    assert search.retriever.views == [View.ID, View.WITH_EMBEDDING, View.WITH_EMBEDDING]


async def test_diversity_over_merged_parents_takes_their_childrens_direction(
    collection: Collection,
) -> None:
    hits = await Search(collection)(
        "0",
        retrieve_k=12,
        rerank=None,
        top_n=2,
        relevance_weight=0.3,
        context=Context(merge_share=1.0),
    )

    assert ids(hits) == ["parent0", "parent3"]


async def test_whatever_is_asked_for_together_each_find_comes_back_once(
    collection: Collection,
) -> None:
    random = np.random.default_rng(11)
    names = [*(f"leaf{n:02}" for n in range(LEAVES)), *(f"parent{n}" for n in range(4)), "", "gone"]
    for turn in range(60):
        changed = str(random.choice(names[:LEAVES]))  # families go round in circles more and more
        await collection.upsert(
            [
                Passage(
                    changed,
                    f"text {turn}",
                    document_id=str(random.choice(["", "d", "e"])),
                    ordinal=int(random.integers(3)),
                    parent_id=str(random.choice(names)),
                )
            ],
            [direction(float(random.integers(30)))],
        )
        search = Search(collection, Shortest(scores=int(random.integers(1, 20))))
        asked: dict[str, Any] = {
            "retrieve_k": int(random.integers(1, 20)),
            "top_n": int(random.integers(1, 20)),
            "rerank": [None, RerankOptions(), RerankOptions(partial=True)][turn % 3],
            "relevance_weight": [None, 0.0, 0.5, 1.0][turn % 4],
            "retrieval": {"view": list(View)[turn % 3]},
            "context": Context(
                window=int(random.choice([0, 1, 100])),
                merge_share=float(random.choice([0, 1e-6, 0.5, 1])),
                max_bytes=1 << 20,
            ),
        }

        hits = await search(str(random.integers(30)), **asked)

        assert hits, asked
        told = [id_ for hit in hits for id_ in [*hit.retrieved.merged_ids, *ids([hit])]]
        assert len(told) == len(set(told)), asked
        assert len(hits) <= min(asked["top_n"], asked["retrieve_k"])


async def test_what_the_deadline_left_unscored_stays_last(collection: Collection) -> None:
    search = Search(collection, Shortest(scores=3))

    hits = await search("0", retrieve_k=6, relevance_weight=0.0)

    assert sorted(ids(hits)[:3]) == ["leaf00", "leaf01", "leaf02"]
    assert ids(hits)[3:] == ["leaf03", "leaf04", "leaf05"]


async def test_a_partial_answer_leaves_time_to_be_widened(collection: Collection) -> None:
    search = Search(collection)

    await search("0", rerank=RerankOptions(partial=True))
    await search("0", rerank=RerankOptions(partial=True), relevance_weight=0.5)
    await search("0", rerank=RerankOptions(), relevance_weight=0.5)

    assert search.reranker.deadlines == [100.0, pytest.approx(99.98), 100.0]
