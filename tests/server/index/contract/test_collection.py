"""What a collection does for its callers, whichever engine holds it."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from finesieve_server.errors import (
    CollectionNotFound,
    DuplicateId,
    InvalidArgument,
    Unavailable,
)
from finesieve_server.index.filters import AnyOf, InDocument, Match, NoneOf, Range
from finesieve_server.index.records import Distance, Passage, State, View
from tests.server.index.contract.engines import Catalog, Collection
from tests.server.index.corpus import DIMENSION, embeddings, ids, nearest_ids, passages, spec


async def fill(collection: Collection, count: int) -> np.ndarray:
    """Upsert passages(count) with embeddings(count) in batches of 1,000."""
    vectors = embeddings(count)
    for start in range(0, count, 1000):
        batch = passages(min(1000, count - start), start)
        await collection.upsert(batch, list(vectors[start : start + 1000]))
    return vectors


async def test_what_was_stored_comes_back_as_it_was(collection: Collection) -> None:
    values = embeddings(1)[0] * 7
    passage = Passage(
        id="Zürich/1",
        text="tiếng Việt\x00 and a NUL",
        title="",
        metadata={"a": {"b": [1, 2.5, "x", None, True]}, "empty": [], "big": 2**60},
        document_id="d",
        ordinal=3,
        parent_id="parent",
        embedding=values,
    )

    await collection.upsert([passage], [values])
    [stored] = await collection.get(["Zürich/1"], View.WITH_EMBEDDING)

    assert stored.embedding is not None
    assert stored.embedding.tobytes() == values.tobytes(), "not normalised: the caller's own values"
    assert replace(stored, embedding=None) == replace(passage, embedding=None)


async def test_the_views_give_as_much_as_they_say(collection: Collection) -> None:
    await fill(collection, 3)

    [bare] = await collection.get(["p00001"], View.ID)
    [full] = await collection.get(["p00001"], View.FULL)
    [[found]] = await collection.search(embeddings(3)[1:2], 1, view=View.WITH_EMBEDDING)

    assert bare == Passage("p00001")
    assert full.text == "text of 1"
    assert full.embedding is None
    assert found.passage.embedding is not None


async def test_get_keeps_the_order_of_the_ids_and_leaves_missing_ones_out(
    collection: Collection,
) -> None:
    await fill(collection, 5)

    found = await collection.get(["p00004", "nothing", "p00000", "p00002"], View.ID)

    assert [passage.id for passage in found] == ["p00004", "p00000", "p00002"]


async def test_an_update_leaves_nothing_of_the_old_passage(collection: Collection) -> None:
    old, new = embeddings(2)
    await collection.upsert(
        [Passage("a", text="old", title="old", metadata={"old": 1}, document_id="old")], [old]
    )

    upserted = await collection.upsert([Passage("a", text="new")], [new])

    assert (upserted.inserted, upserted.updated) == (0, 1)
    assert await collection.get(["a"], View.FULL) == [Passage("a", text="new")]
    [[found]] = await collection.search(old[None], 5)
    assert found.score < 0.99
    for trace in (Match("old", [1]), InDocument("old")):
        page, _ = await collection.page("", 10, 1 << 20, trace, View.ID)
        assert page == []
    assert (await collection.info()).passage_count == 1


async def test_search_finds_what_an_exact_search_finds(collection: Collection) -> None:
    corpus = await fill(collection, 4000)
    queries = embeddings(50, seed=2)

    found = await collection.search(queries, 10)
    exact = await collection.search(queries, 10, exact=True)

    truth = [nearest_ids(corpus, query, 10) for query in queries]
    assert [ids(each) for each in exact] == truth
    hits = sum(len(set(ids(a)) & set(b)) for a, b in zip(found, truth, strict=True))
    assert hits >= 0.97 * 500


@pytest.mark.parametrize("distance", list(Distance))
async def test_scores_are_cosine_dot_product_and_minus_squared_distance(
    catalog: Catalog, distance: Distance
) -> None:
    collection = await catalog.create(spec(distance=distance))
    corpus = embeddings(300)
    await collection.upsert(passages(300), list(corpus))
    query = embeddings(1, seed=9)[0].astype(np.float64)
    wide = corpus.astype(np.float64)

    [found] = await collection.search(query[None].astype(np.float32), 300)

    expected = {
        Distance.COSINE: wide @ query / np.linalg.norm(wide, axis=1) / np.linalg.norm(query),
        Distance.DOT: wide @ query,
        Distance.L2: -((wide - query) ** 2).sum(axis=1),
    }[distance]
    scores = np.array([each.score for each in found])
    assert np.all(np.diff(scores) <= 0), "best first"
    assert [each.passage.id for each in found[:10]] == [
        f"p{number:05}" for number in np.argsort(-expected)[:10]
    ]
    np.testing.assert_allclose(scores, np.sort(expected)[::-1], rtol=1e-5, atol=1e-5)


async def test_a_score_has_the_same_bits_by_graph_by_exact_search_and_in_company(
    collection: Collection,
) -> None:
    await fill(collection, 3000)
    queries = embeddings(40, seed=3)

    together = await collection.search(queries, 10)
    exact = await collection.search(queries, 10, exact=True)
    alone = [(await collection.search(query[None], 10))[0] for query in queries]
    filtered = await collection.search(queries, 10, filter=Range("number", lt=100))

    scores: dict[tuple[int, str], set[float]] = {}
    for way in (together, exact, alone, filtered):
        for row, found in enumerate(way):
            for each in found:
                scores.setdefault((row, each.passage.id), set()).add(each.score)
    assert all(len(values) == 1 for values in scores.values())


async def test_l2_tells_near_vectors_apart_far_from_the_origin(catalog: Catalog) -> None:
    collection = await catalog.create(spec(distance=Distance.L2))
    corpus = embeddings(500) + np.float32(10_000)
    await collection.upsert(passages(500), list(corpus))

    found = await collection.search(corpus[:100], 1, exact=True)

    assert [ids(each) for each in found] == [[f"p{number:05}"] for number in range(100)]


async def test_a_batch_with_one_bad_embedding_changes_nothing(collection: Collection) -> None:
    await fill(collection, 2)
    bad = embeddings(3, seed=5)
    bad[1, 7] = np.nan

    with pytest.raises(InvalidArgument, match=r"passages\[1\].embedding.*position 7"):
        await collection.upsert(passages(3, start=1), list(bad))

    assert (await collection.info()).passage_count == 2
    page, more = await collection.page("", 10, 1 << 20, None, View.ID)
    assert [passage.id for passage in page] == ["p00000", "p00001"]
    assert not more


@pytest.mark.parametrize(
    ("distance", "value", "problem"),
    [
        (Distance.COSINE, np.zeros(DIMENSION), "length zero"),
        (Distance.COSINE, np.full(DIMENSION, np.inf), "finite"),
        (Distance.L2, np.full(DIMENSION, -np.inf), "finite"),
        (Distance.DOT, np.full(DIMENSION, 1e30), "1e\\+18"),
        (Distance.COSINE, np.ones(DIMENSION - 1), f"has {DIMENSION - 1} values"),
        (Distance.COSINE, np.ones((1, DIMENSION)), "values"),
        (Distance.COSINE, None, "missing"),
    ],
)
async def test_an_embedding_that_cannot_be_compared_is_refused_by_name(
    catalog: Catalog, distance: Distance, value: np.ndarray | None, problem: str
) -> None:
    collection = await catalog.create(spec(distance=distance))
    vector = None if value is None else value.astype(np.float32)

    with pytest.raises(InvalidArgument, match=problem) as refusal:
        await collection.upsert([Passage("a")], [vector])

    assert refusal.value.field == "passages[0].embedding"
    if value is not None and value.ndim == 1:
        with pytest.raises(InvalidArgument, match=problem) as refusal:
            await collection.search([value.astype(np.float32)], 1, fields=["embedding"])
        assert refusal.value.field == "embedding"


async def test_a_bad_query_among_many_is_named_by_its_position(collection: Collection) -> None:
    queries = embeddings(3)
    queries[2] = 0

    with pytest.raises(InvalidArgument) as refusal:
        await collection.search(queries, 1)

    assert refusal.value.field == "queries[2].embedding"


async def test_a_bad_query_far_down_is_named_as_its_caller_names_it(
    collection: Collection,
) -> None:
    queries = list(embeddings(100))
    queries[70] = queries[70][:-1]

    with pytest.raises(InvalidArgument, match="values") as refusal:
        await collection.search(queries, 1, fields=[f"asked[{row}]" for row in range(100)])

    assert refusal.value.field == "asked[70]"


async def test_vectors_too_short_or_long_for_float32_keep_their_direction(
    collection: Collection,
) -> None:
    values = embeddings(2)
    await collection.upsert(
        passages(2), [(values[0] * 1e-40).astype(np.float32), values[1] * np.float32(1e37)]
    )

    found = await collection.search(values, 1)

    assert [ids(each) for each in found] == [["p00000"], ["p00001"]]
    assert found[1][0].score == pytest.approx(1, abs=1e-6)


async def test_one_id_twice_in_a_batch_is_refused_at_its_second_place(
    collection: Collection,
) -> None:
    with pytest.raises(DuplicateId) as refusal:
        await collection.upsert([Passage("a"), Passage("b"), Passage("a")], list(embeddings(3)))

    assert refusal.value.field == "passages[2].id"
    assert (await collection.info()).passage_count == 0


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
async def test_metadata_that_is_no_json_number_is_refused(
    collection: Collection, number: float
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await collection.upsert([Passage("a", metadata={"x": [number]})], list(embeddings(1)))

    assert refusal.value.field == "passages[0].metadata"
    assert (await collection.info()).passage_count == 0


async def test_a_context_only_passage_is_kept_and_listed_and_never_found(
    collection: Collection,
) -> None:
    values = embeddings(2)
    await collection.upsert(
        [Passage("parent", context_only=True), Passage("leaf", parent_id="parent")],
        [None, values[0]],
    )

    [found] = await collection.search(values[:1], 10)
    [exact] = await collection.search(values[:1], 10, exact=True)
    [filtered] = await collection.search(values[:1], 10, filter=NoneOf([Match("x", [1])]))

    assert ids(found) == ids(exact) == ids(filtered) == ["leaf"]
    [parent] = await collection.get(["parent"], View.FULL)
    assert parent.context_only
    assert (await collection.info()).passage_count == 2


async def test_fewer_matches_than_asked_for_is_a_short_answer(collection: Collection) -> None:
    await fill(collection, 3000)
    query = embeddings(1, seed=4)

    assert len((await collection.search(query, 5000))[0]) == 3000
    few = AnyOf([Match("number", [5, 6]), InDocument("d9")])
    assert len((await collection.search(query, 100, filter=few))[0]) == 12
    assert (await collection.search(query, 10, filter=Match("number", ["5"]))) == [[]]


async def test_an_empty_collection_answers_with_nothing(collection: Collection) -> None:
    assert await collection.search(embeddings(2), 10) == [[], []]
    assert await collection.page("", 10, 100, None, View.FULL) == ([], False)
    assert await collection.delete(["a"]) == 0
    upserted = await collection.upsert([], [])
    assert (upserted.inserted, upserted.updated) == (0, 0)


async def test_deleted_passages_never_come_back(collection: Collection) -> None:
    corpus = await fill(collection, 3000)
    gone = [f"p{number:05}" for number in range(0, 3000, 3)]

    deleted = await collection.delete([*gone, "nothing", gone[0]])

    assert deleted == 1000
    assert (await collection.info()).passage_count == 2000
    for exact in (False, True):
        found = await collection.search(corpus[:300], 20, exact=exact)
        assert not {each.passage.id for row in found for each in row} & set(gone)
        assert all(len(row) == 20 for row in found)
    assert await collection.get(gone, View.ID) == []


async def test_delete_where_takes_what_the_filter_takes_and_no_more(
    collection: Collection,
) -> None:
    await fill(collection, 100)

    assert await collection.delete_where(Range("number", gte=10, lt=30)) == 20
    assert await collection.delete_where(Range("number", gte=10, lt=30)) == 0

    page, _ = await collection.page("", 1000, 1 << 20, None, View.ID)
    assert [p.id for p in page] == [f"p{n:05}" for n in (*range(10), *range(30, 100))]


async def test_pages_walk_all_passages_once_in_the_order_of_their_ids(
    collection: Collection,
) -> None:
    names = ["a", "B", "é", "z", "😀", "\uffff", "aa", "Z"]
    await collection.upsert([Passage(name) for name in names], list(embeddings(len(names))))

    walked, after, more = [], "", True
    while more:
        page, more = await collection.page(after, 3, 1 << 20, None, View.ID)
        walked += [passage.id for passage in page]
        after = walked[-1]

    assert walked == sorted(names), "by code point, as Python compares"


async def test_a_page_ends_before_it_outgrows_its_bytes(collection: Collection) -> None:
    batch = [Passage(f"{n}", text="x" * 1000) for n in range(9)]
    await collection.upsert(batch, list(embeddings(9)))

    page, more = await collection.page("", 9, 3500, None, View.FULL)
    single, more_after_single = await collection.page("", 9, 10, None, View.FULL)
    bare, more_after_bare = await collection.page("", 9, 3500, None, View.ID)

    assert (len(page), more) == (3, True)
    assert (len(single), more_after_single) == (1, True), "one comes however large"
    assert (len(bare), more_after_bare) == (9, False)


async def test_a_write_whose_caller_gave_up_is_whole_or_absent(collection: Collection) -> None:
    vectors = embeddings(500)
    writes = [
        asyncio.create_task(
            collection.upsert(passages(50, start), list(vectors[start : start + 50]))
        )
        for start in range(0, 500, 50)
    ]
    await asyncio.sleep(0)
    for write in writes[1::2]:
        write.cancel()
    await asyncio.gather(*writes, return_exceptions=True)

    page, _ = await collection.page("", 1000, 1 << 30, None, View.ID)
    by_batch = [sum(int(p.id[1:]) // 50 == batch for p in page) for batch in range(10)]
    assert set(by_batch) <= {0, 50}
    assert all(by_batch[0::2])
    assert (await collection.info()).passage_count == len(page)
    assert len((await collection.search(vectors[:1], 1000))[0]) == len(page)


async def test_searches_during_updates_lose_and_double_nothing(collection: Collection) -> None:
    corpus = await fill(collection, 2500)
    stop = asyncio.Event()

    async def update() -> None:
        while not stop.is_set():
            for start in range(0, 2500, 500):
                await collection.upsert(passages(500, start), list(corpus[start : start + 500]))

    updating = asyncio.create_task(update())
    try:
        for round_number in range(60):
            row = round_number * 41 % 2500
            for condition in (None, Match("number", list(range(row, row + 30)))):
                [found] = await collection.search(corpus[row : row + 1], 20, filter=condition)
                assert ids(found)[0] == f"p{row:05}", "its own vector is nearest to itself"
                assert len(set(ids(found))) == 20
    finally:
        stop.set()
        await updating


async def test_a_closed_collection_refuses_and_a_deleted_one_does_not_exist(
    catalog: Catalog,
) -> None:
    deleted = await catalog.create(spec("deleted"))
    closed = await catalog.create(spec("closed"))

    await catalog.delete("deleted")
    await catalog.close()

    with pytest.raises(CollectionNotFound):
        await deleted.get(["a"], View.ID)
    with pytest.raises(Unavailable):
        await closed.upsert([Passage("a")], list(embeddings(1)))


async def test_info_tells_count_times_and_state(collection: Collection) -> None:
    created = await collection.info()
    await fill(collection, 3)
    info = await collection.info()

    assert info.spec == spec()
    assert info.passage_count == 3
    assert info.create_time <= created.update_time <= info.update_time
    assert info.create_time.utcoffset() is not None
    assert info.state is State.READY
