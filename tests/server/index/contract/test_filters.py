"""What a filter takes, against a reference in plain Python, whichever engine answers."""

import numpy as np
import pytest

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.filters import (
    MAX_CONDITIONS,
    AllOf,
    AnyOf,
    Exists,
    Filter,
    InDocument,
    Match,
    NoneOf,
    Range,
)
from finesieve_server.index.records import Passage, View
from tests.server.index.contract.engines import Collection
from tests.server.index.corpus import embeddings
from tests.server.index.test_filters import METADATA, random_filter, random_passage, takes

CONDITIONS: list[Filter] = [
    *(Match("x", [value]) for value in (1, "1", True, False, 0, None, "", "a", "a\x00b", "%")),
    Match("x", [0, "é", None]),
    Range("x", gt=0),
    Range("x", gte=0, lt=1),
    Range("x", lte=0),
    Range("x", gte="2024", lt="2025"),
    Range("x", gt="é"),
    Range("x", gt="\uffff"),
    Range("x", lte=""),
    Range("x", gt=1e308),
    Range("x", gte=-5e-324, lte=5e-324),
    Range("x.y", gte=2),
    Exists("x"),
    Exists("x.y"),
    Exists("x.y.z"),
    Match("x.y", [1]),
    Match("x.y.z", ["deep"]),
    AnyOf([Match("x", [n]) for n in range(MAX_CONDITIONS - 2)]),
]


async def store(collection: Collection, passages: list[Passage]) -> None:
    await collection.upsert(passages, list(embeddings(len(passages))))


async def taken(collection: Collection, condition: Filter) -> set[str]:
    """Return the ids that the filter takes, the same for a list and for a search."""
    page, _ = await collection.page("", 1000, 1 << 30, condition, View.ID)
    [found] = await collection.search(embeddings(1), 1000, filter=condition, view=View.ID)
    listed = {passage.id for passage in page}
    assert listed == {each.passage.id for each in found}
    return listed


async def test_each_condition_and_its_contrary_take_what_the_contract_says(
    collection: Collection,
) -> None:
    corpus = [Passage(id_, metadata=metadata) for id_, metadata in METADATA.items()]
    await store(collection, corpus)

    for condition in [*CONDITIONS, *(NoneOf([each]) for each in CONDITIONS)]:
        expected = {passage.id for passage in corpus if takes(condition, passage)}
        assert await taken(collection, condition) == expected, condition


async def test_random_filters_take_what_a_plain_reading_of_them_takes(
    collection: Collection,
) -> None:
    random = np.random.default_rng(21)
    corpus = [random_passage(random, number) for number in range(150)]
    await store(collection, corpus)

    for _ in range(40):
        condition = random_filter(random, 3)
        expected = {passage.id for passage in corpus if takes(condition, passage)}
        assert await taken(collection, condition) == expected, condition


HOSTILE = [
    "x' OR 1=1 --",
    '" or id > "',
    '"] or true or id in ["',
    "\\",
    '\\" or true //',
    "{x}",
    "%",
    "é\x00",
    "\n\r\t",
    'x"] > 0 or bounds["y',
]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_an_expression_in_a_name_or_a_value_is_a_plain_name_or_value(
    collection: Collection, hostile: str
) -> None:
    own = Passage("own " + hostile, metadata={hostile: hostile, "n": 1}, document_id=hostile)
    await store(collection, [own, Passage("other", metadata={"x": "y", "n": 1})])

    for condition in (
        Match(hostile, [hostile]),
        Range(hostile, gte=hostile, lte=hostile),
        Exists(hostile),
        InDocument(hostile),
    ):
        assert await taken(collection, condition) == {own.id}
        assert await taken(collection, NoneOf([condition])) == {"other"}
    assert await taken(collection, AllOf([Match("n", [1]), Match("x", [hostile])])) == set()
    assert await collection.get([hostile, own.id], View.ID) == [Passage(own.id)]
    page, _ = await collection.page(own.id, 10, 1000, None, View.ID)
    assert page == [each for each in [Passage("other")] if each.id > own.id]
    assert await collection.delete([hostile]) == 0
    assert await collection.delete_where(InDocument(hostile)) == 1
    assert (await collection.info()).passage_count == 1


@pytest.mark.parametrize(
    "condition",
    [AllOf([]), Match("x", []), Range("x"), Range("x", gt=1, lt="2"), Range("x", gt=True)],
)
async def test_a_filter_that_says_nothing_or_mixes_kinds_is_refused(
    collection: Collection, condition: Filter
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await collection.search(embeddings(1), 1, filter=condition)

    assert refusal.value.field == "filter"


async def test_ranges_over_lists_look_at_every_element(collection: Collection) -> None:
    await store(
        collection,
        [
            Passage("few", metadata={"n": [9, 1, 5], "t": ["b", "z"]}),
            Passage("two far apart", metadata={"n": [1, 100]}),
            Passage("one", metadata={"n": 5}),
            Passage("many", metadata={"n": list(range(0, 200, 10))}),
        ],
    )

    assert await taken(collection, Range("n", gt=4, lt=6)) == {"few", "one"}
    assert await taken(collection, NoneOf([Range("n", gt=4, lt=6)])) == {"two far apart", "many"}
    assert await taken(collection, Range("n", gte=150)) == {"many"}
    assert await taken(collection, Range("n", lte=0)) == {"many"}
    assert await taken(collection, Range("t", gt="a", lt="c")) == {"few"}


async def test_a_range_with_two_bounds_looks_at_every_element_of_a_long_list(
    collection: Collection,
) -> None:
    await store(collection, [Passage("many", metadata={"n": list(range(0, 200, 10))})])

    assert await taken(collection, Range("n", gt=99, lt=101)) == {"many"}


async def test_a_bound_may_be_a_long_string(collection: Collection) -> None:
    await store(collection, [Passage("a", metadata={"x": "z" * 1000})])

    assert await taken(collection, Range("x", gt="z" * 100)) == {"a"}
    assert await taken(collection, Range("x", gte="z" * 1000)) == {"a"}
