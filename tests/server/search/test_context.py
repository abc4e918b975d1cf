"""What auto-merging puts in the place of what was found; windows are the index's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from finesieve_server.index.records import Family, Found, Passage, View
from finesieve_server.search.context import MAX_LEVELS, ContextReader
from finesieve_server.search.hits import Retrieved


class Library:
    """A catalog with one collection, which is what the parents of its passages make it."""

    def __init__(self, parent_of: Mapping[str, str], missing: Sequence[str] = ()) -> None:
        self.parent_of = parent_of
        self.missing = set(missing)
        self.asked: list[list[str]] = []

    async def get(self, name: str) -> "Library":
        return self

    async def family(self, parent_ids: Sequence[str], view: View) -> dict[str, Family]:
        self.asked.append(list(parent_ids))
        children = list(self.parent_of.values())
        return {
            id_: Family(self.passage(id_), children.count(id_))
            for id_ in parent_ids
            if id_ not in self.missing
        }

    def passage(self, id: str) -> Passage:
        return Passage(id, parent_id=self.parent_of.get(id, ""))

    def found(self, ids: str) -> list[Found]:
        return [Found(self.passage(each), 1 / rank) for rank, each in enumerate(ids.split(), 1)]


async def merge(library: Library, found: str, share: float) -> list[Retrieved]:
    catalog: Any = library
    return await ContextReader(catalog).merge("docs", library.found(found), share, View.FULL)


def told(retrieved: Sequence[Retrieved]) -> dict[str, tuple[int, str]]:
    """Return by id, in their order, the rank and what was merged."""
    return {each.passage.id: (each.rank, " ".join(each.merged_ids)) for each in retrieved}


def tree(**children: str) -> dict[str, str]:
    return {child: parent for parent, ids in children.items() for child in ids.split()}


async def test_a_parent_replaces_its_children_where_enough_of_them_were_found() -> None:
    library = Library(tree(p="a b c d", q="e f"))

    merged = await merge(library, "c x a e b", 0.75)

    assert told(merged) == {"p": (1, "c a b"), "x": (2, ""), "e": (4, "")}
    assert (merged[0].score, merged[0].tokens) == (1.0, None)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, "a b"), (1e-30, "p"), (0.5, "p"), (0.5000001, "a b"), (1.0, "a b")],
)
async def test_the_share_is_the_least_that_merges(share: float, expected: str) -> None:
    library = Library(tree(p="a b c d"))

    assert " ".join(told(await merge(library, "a b", share))) == expected


@pytest.mark.parametrize(("found", "children"), [(3, 5), (1, 3), (7, 10), (2, 3), (9, 10)])
async def test_a_share_that_a_float32_rounds_up_is_reached_all_the_same(
    found: int, children: int
) -> None:
    library = Library(tree(p=" ".join(map(str, range(children)))))
    asked = float(np.float32(found / children))

    merged = await merge(library, " ".join(map(str, range(found))), asked)
    not_quite = await merge(library, " ".join(map(str, range(found - 1))), asked)

    assert list(told(merged)) == ["p"]
    assert "p" not in told(not_quite)


async def test_without_a_share_nobody_is_asked_for_parents() -> None:
    library = Library(tree(p="a b"))

    await merge(library, "a b", 0.0)

    assert library.asked == []


async def test_merging_goes_up_level_by_level() -> None:
    library = Library(tree(p="a b", q="c d", top="p q r"))

    assert told(await merge(library, "d a x b c", 0.6)) == {"top": (1, "d a b c"), "x": (3, "")}
    assert told(await merge(library, "d a x b c", 0.7)) == {
        "q": (1, "d c"),
        "p": (2, "a b"),
        "x": (3, ""),
    }


async def test_a_level_counts_leaves_and_merged_parents_alike() -> None:
    library = Library(tree(p="a b", top="p c"))

    assert told(await merge(library, "a b c", 1.0)) == {"top": (1, "a b c")}


async def test_a_parent_that_was_found_itself_is_not_doubled() -> None:
    library = Library(tree(p="a b"))

    assert told(await merge(library, "a p b", 1.0)) == {"p": (1, "a b")}
    assert told(await merge(library, "p a", 1.0)) == {"p": (1, ""), "a": (2, "")}


async def test_one_that_was_found_and_merged_into_its_own_parent_is_named() -> None:
    library = Library(tree(p="a b", top="p"))

    assert told(await merge(library, "a p b", 1.0)) == {"top": (1, "a p b")}


async def test_the_tokens_that_are_kept_of_a_found_parent_stay_with_it() -> None:
    library: Any = Library(tree(p="a"))
    found = [Found(library.passage("a"), 1, b"of a"), Found(library.passage("p"), 0.5, b"of p")]

    [merged] = await ContextReader(library).merge("docs", found, 1.0, View.FULL)

    assert merged.tokens == b"of p"


async def test_parents_that_do_not_exist_merge_nothing() -> None:
    library = Library(tree(gone="a b"), missing=["gone"])

    assert told(await merge(library, "a b", 0.1)) == {"a": (1, ""), "b": (2, "")}
    assert library.asked == [["gone"]]


@pytest.mark.parametrize(
    ("parents", "found", "expected"),
    [
        ({"a": "a"}, "a", {"a": (1, "")}),
        ({"a": "b", "b": "a"}, "a", {"b": (1, "a")}),
        ({"a": "b", "b": "a"}, "a b", {"b": (1, "a")}),
        ({"a": "b", "b": "a"}, "b a", {"a": (1, "b")}),
        ({"leaf": "p", "p": "q", "q": "p"}, "leaf", {"leaf": (1, "")}),
        (
            {"leaf": "p", "other": "p", "p": "q", "q": "r", "r": "q"},
            "leaf other",
            {"p": (1, "leaf other")},
        ),
        ({"a": "b", "b": "c", "c": "a"}, "a b c", {"c": (1, "a b")}),
    ],
)
async def test_parents_in_a_circle_end(
    parents: dict[str, str], found: str, expected: dict[str, tuple[int, str]]
) -> None:
    library = Library(parents)

    merged = await merge(library, found, 1.0)

    assert told(merged) == expected


async def test_a_chain_without_end_is_climbed_a_few_levels() -> None:
    library = Library({str(n): str(n + 1) for n in range(1000)})

    [merged] = await merge(library, "0", 1.0)

    assert merged.passage.id == str(MAX_LEVELS)
    assert len(library.asked) == MAX_LEVELS


async def test_random_hostile_families_keep_every_find_once_and_in_order() -> None:
    random = np.random.default_rng(7)
    for _ in range(300):
        names = [f"n{n}" for n in range(int(random.integers(1, 12)))]
        parents = {name: str(random.choice([*names, "", "gone"])) for name in names}
        library = Library(parents, missing=["gone"])
        found = list(random.permutation(names)[: int(random.integers(1, len(names) + 1))])
        share = float(random.choice([1e-6, 0.3, 0.5, 1.0]))

        merged = await merge(library, " ".join(found), share)

        ids = [each.passage.id for each in merged]
        assert len(ids) == len(set(ids)), parents
        assert sorted(f.passage.id for each in merged for _, f in each.found) == sorted(found)
        ranks = [each.rank for each in merged]
        assert ranks == sorted(ranks)
        replaced = {id_ for each in merged for id_ in each.merged_ids}
        assert not replaced & set(ids), "what is replaced does not stand beside it"
