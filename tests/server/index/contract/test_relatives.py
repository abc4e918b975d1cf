"""What stands around a passage and above it."""

from collections.abc import Sequence

import numpy as np
import pytest

from finesieve_server.errors import AnswerTooLarge
from finesieve_server.index.records import Embedding, Family, Neighbours, Passage, View
from tests.server.index.contract.engines import Collection
from tests.server.index.corpus import DIMENSION

ROOM = 1 << 20


async def store(collection: Collection, *passages: Passage) -> None:
    vectors: list[Embedding | None] = [
        None if each.context_only else np.ones(DIMENSION, np.float32) for each in passages
    ]
    await collection.upsert(passages, vectors)


def leaf(id: str, ordinal: int, document_id: str = "d", parent_id: str = "") -> Passage:
    return Passage(
        id, f"text of {id}", document_id=document_id, ordinal=ordinal, parent_id=parent_id
    )


def parent(id: str, ordinal: int = 0, parent_id: str = "") -> Passage:
    return Passage(id, id, document_id="d", ordinal=ordinal, parent_id=parent_id, context_only=True)


async def around(
    collection: Collection, passage: Passage, window: int, view: View = View.ID
) -> tuple[list[str], list[str]]:
    [found] = await collection.neighbours([passage], window, view, max_bytes=ROOM)
    return [each.id for each in found.before], [each.id for each in found.after]


async def test_a_window_is_what_stands_around_in_document_order(collection: Collection) -> None:
    leaves = [leaf(f"p{n}", n) for n in range(10)]
    await store(collection, *reversed(leaves), leaf("other", 4, "e"))

    assert await around(collection, leaves[5], 2) == (["p3", "p4"], ["p6", "p7"])
    assert await around(collection, leaves[0], 3) == ([], ["p1", "p2", "p3"])
    assert await around(collection, leaves[9], 3) == (["p6", "p7", "p8"], [])
    everything = await around(collection, leaves[4], 10**9)
    assert everything == (["p0", "p1", "p2", "p3"], ["p5", "p6", "p7", "p8", "p9"])


async def test_gaps_and_ties_and_the_ends_of_the_range_are_ordered(collection: Collection) -> None:
    last = 2**32 - 1
    leaves = [leaf("z", 0), leaf("a", 7), leaf("b", 7), leaf("c", 7), leaf("y", last)]
    await store(collection, *leaves)

    assert await around(collection, leaves[2], 1) == (["a"], ["c"])
    assert await around(collection, leaves[2], 5) == (["z", "a"], ["c", "y"])
    assert await around(collection, leaves[4], 2) == (["b", "c"], [])
    assert await around(collection, leaves[0], 1) == ([], ["a"])


async def test_a_window_of_leaves_has_no_parents_and_one_of_parents_no_leaves(
    collection: Collection,
) -> None:
    leaves = [leaf(f"leaf{n}", n, parent_id=f"mid{n // 2}") for n in range(4)]
    mids = [parent(f"mid{n}", n, parent_id="top") for n in range(2)]
    tops = [parent("top"), parent("top2", 1)]
    await store(collection, *leaves, *mids, *tops, leaf("alone", 9))

    assert await around(collection, leaves[1], 9) == (["leaf0"], ["leaf2", "leaf3", "alone"])
    assert await around(collection, mids[0], 9) == ([], ["mid1"])
    assert await around(collection, tops[1], 9) == (["top"], [])


async def test_passages_of_no_document_have_no_neighbours(collection: Collection) -> None:
    alone, other = leaf("a", 0, ""), leaf("b", 1, "")
    member = leaf("c", 0)
    await store(collection, alone, other, member, leaf("d", 1))

    found = await collection.neighbours([alone, member, other], 5, View.ID, max_bytes=ROOM)

    assert found == [Neighbours([], []), Neighbours([], [Passage("d")]), Neighbours([], [])]


async def test_where_nothing_stands_around_windows_are_empty(collection: Collection) -> None:
    only = leaf("a", 0)
    await store(collection, only)

    assert await collection.neighbours([only], 3, View.FULL, max_bytes=ROOM) == [Neighbours([], [])]
    assert await collection.neighbours([], 3, View.FULL, max_bytes=ROOM) == []
    assert await collection.family([], View.FULL) == {}


async def test_random_windows_and_families_are_what_the_definition_says(
    collection: Collection,
) -> None:
    random = np.random.default_rng(5)
    names = [f"p{n}" for n in random.permutation(150)]
    passages = [
        Passage(
            name,
            "text",
            document_id=str(random.choice(["", "d", "D", "d "])),
            ordinal=int(random.choice([0, 1, 2, 3, 2**31, 2**32 - 1])),
            parent_id=str(random.choice(["", "gone", *names[:9]])),
            context_only=bool(random.integers(2)),
        )
        for name in names
    ]
    await store(collection, *passages)

    for window in (1, 3, 1000):
        found = await collection.neighbours(passages, window, View.FULL, max_bytes=ROOM)
        assert found == [by_definition(each, passages, window) for each in passages]
    family = await collection.family([*names, "gone"], View.FULL)
    assert family == {
        each.id: Family(each, sum(child.parent_id == each.id for child in passages))
        for each in passages
    }


def by_definition(passage: Passage, passages: Sequence[Passage], window: int) -> Neighbours:
    def kind(each: Passage) -> tuple[str, bool, bool]:
        return each.document_id, each.context_only, each.context_only and not each.parent_id

    def place(each: Passage) -> tuple[int, str]:
        return each.ordinal, each.id

    alike = [each for each in passages if each.document_id and kind(each) == kind(passage)]
    alike.sort(key=place)
    before = [each for each in alike if place(each) < place(passage)]
    after = [each for each in alike if place(each) > place(passage)]
    return Neighbours(before[-window:], after[:window])


async def test_overlapping_windows_are_each_whole(collection: Collection) -> None:
    leaves = [leaf(f"p{n}", n) for n in range(5)]
    await store(collection, *leaves)

    found = await collection.neighbours(leaves[1:3], 1, View.FULL, max_bytes=ROOM)

    assert found == [
        Neighbours([leaves[0]], [leaves[2]]),
        Neighbours([leaves[1]], [leaves[3]]),
    ]


async def test_the_view_says_how_much_of_a_neighbour_comes(collection: Collection) -> None:
    leaves = [leaf("a", 0), leaf("b", 1)]
    await store(collection, *leaves)

    for view in View:
        [found] = await collection.neighbours(leaves[:1], 1, view, max_bytes=ROOM)
        [after] = found.after
        assert bool(after.text) == (view is not View.ID)
        assert (after.embedding is not None) == (view is View.WITH_EMBEDDING)


async def test_windows_too_large_for_an_answer_are_refused_unread(collection: Collection) -> None:
    leaves = [Passage(f"p{n:03}", "x" * 10_000, document_id="d", ordinal=n) for n in range(120)]
    await store(collection, *leaves)

    with pytest.raises(AnswerTooLarge):
        await collection.neighbours(leaves[60:61], 60, View.FULL, max_bytes=ROOM)
    with pytest.raises(AnswerTooLarge):  # each occurrence counts
        await collection.neighbours(leaves[:60], 10, View.FULL, max_bytes=ROOM)
    [found] = await collection.neighbours(leaves[60:61], 60, View.ID, max_bytes=ROOM)

    assert len(found.before) == 60


async def test_names_are_taken_as_they_are(collection: Collection) -> None:
    name = "a\"\\\x00'); DROP TABLE passages; --\u2028é"
    first, second = leaf("1" + name, 0, name), leaf("2" + name, 1, name, parent_id=name)
    await store(collection, first, second, leaf(name, 0, "elsewhere"))

    family = await collection.family([name], View.ID)

    assert await around(collection, first, 1) == ([], ["2" + name])
    assert {id_: each.children for id_, each in family.items()} == {name: 1}


async def test_a_family_is_the_parent_and_the_count_of_its_children(
    collection: Collection,
) -> None:
    leaves = [leaf(f"leaf{n}", n, parent_id="p" if n < 3 else "q") for n in range(5)]
    await store(collection, *leaves, parent("p"), leaf("own parent", 9, parent_id="own parent"))

    family = await collection.family(["p", "q", "gone", "own parent"], View.FULL)

    assert {id_: each.children for id_, each in family.items()} == {"p": 3, "own parent": 1}
    assert family["p"].parent == parent("p")
