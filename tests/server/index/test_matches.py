"""What is remembered of filters is what the store says, whatever comes and goes meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from finesieve_server.errors import Unavailable
from finesieve_server.index.collection import Collection
from finesieve_server.index.filters import AllOf, AnyOf, Exists, Filter, Match, NoneOf, Range
from finesieve_server.index.matches import (
    LIST_SHARE,
    MAX_FILTERS,
    MAX_LATE,
    KnownMatches,
    Matches,
    SlotLabels,
)
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import Passage, View
from finesieve_server.index.store import Store
from tests.server.index.corpus import embeddings, ids, nearest_ids, passages

ONE_IN_50 = Range("percent", lt=2)
HALF = Range("percent", lt=50)
FILTERS: list[Filter] = [
    Exists("percent"),
    HALF,
    Range("percent", lt=10),
    ONE_IN_50,
    Match("number", [7]),
    Match("number", [-1]),
    AllOf([HALF, NoneOf([Range("percent", lt=5)])]),
    AnyOf([ONE_IN_50, Range("percent", gte=97)]),
    NoneOf([Range("percent", lt=98)]),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    Store.create(tmp_path / "store.db", "uid")
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.close()


def add(store: Store, count: int) -> SlotLabels:
    """Add passages of numbers that go on; every second label has a slot."""
    start = store.count
    with store.writing() as writer:
        writer.add(
            [
                Passage(f"p{number}", metadata={"number": number, "percent": number % 100})
                for number in range(start, start + count)
            ],
            [None] * count,
        )
    labels = np.arange(1, store.count + 1, 2)
    return SlotLabels(labels, len(labels))


def matching(labels: SlotLabels, takes: Callable[[int], bool]) -> list[int]:
    """Return the slots whose passages' numbers the caller takes; a number is its label less one."""
    every = np.arange(labels.count)
    numbers = (labels.of(every) - 1).tolist()
    return [slot for slot, number in zip(every.tolist(), numbers, strict=True) if takes(number)]


def under_2(number: int) -> bool:
    return number % 100 < 2


def test_few_matches_are_listed_once_and_later_ones_asked_about_alone(store: Store) -> None:
    matches, labels = Matches(ONE_IN_50), add(store, 4000)
    expected = matching(labels, under_2)

    with store.reading() as reader:
        assert as_list(matches.few(reader, labels, 100)) == expected
    assert as_list(matches.few(Unasked(), labels, 100)) == expected
    assert matches.few(Unasked(), labels, len(expected)) is None

    more = add(store, 900)
    with store.reading() as reader:
        assert as_list(matches.few(reader, more, 100)) == matching(more, under_2)
    assert as_list(matches.few(Unasked(), labels, 100)) == expected, "for one who began before"

    many_more = add(store, 2 * MAX_LATE + 100)
    with store.reading() as reader:
        assert as_list(matches.few(reader, many_more, 1000)) == matching(many_more, under_2)


def test_many_matches_are_told_by_slot_and_not_listed(store: Store) -> None:
    matches, labels = Matches(HALF), add(store, 4000)
    every = np.arange(labels.count)
    expected = matching(labels, lambda number: number % 100 < 50)

    with store.reading() as reader:
        assert matches.few(reader, labels, 100) is None
        some = every[::-3]
        assert set(some[matches.taken(reader, labels, some)]) == set(some) & set(expected)
        assert every[matches.taken(reader, labels, every)].tolist() == expected
    assert every[matches.taken(Unasked(), labels, every)].tolist() == expected
    assert matches.few(Unasked(), labels, 100) is None
    with store.reading() as reader:
        assert matches.all(reader, labels).tolist() == expected
        assert len(expected) * LIST_SHARE > labels.count
    with pytest.raises(AssertionError):
        matches.all(Unasked(), labels)


def test_a_question_that_fails_teaches_nothing(store: Store) -> None:
    matches, labels = Matches(HALF), add(store, 400)
    every = np.arange(labels.count)

    with pytest.raises(Unavailable), store.reading() as reader:
        matches.taken(Failing(reader), labels, every)  # type: ignore[arg-type]

    with store.reading() as reader:
        taken = every[matches.taken(reader, labels, every)].tolist()
    assert taken == matching(labels, lambda number: number % 100 < 50)


def test_filters_that_python_takes_for_equal_are_known_apart() -> None:
    known = KnownMatches()

    kinds = [Match("x", [value]) for value in (1, True, "1", 0, False, None, "")]

    assert len({id(known.of(kind)) for kind in kinds}) == len(kinds)
    assert known.of(Match("x", [1])) is known.of(Match("x", [1.0])), "one number in JSON"


def test_the_filters_used_last_are_known() -> None:
    known = KnownMatches()
    first = known.of(Match("x", [0]))

    for number in range(MAX_FILTERS):
        known.of(Match("x", [number]))
        assert known.of(Match("x", [0])) is first
    for number in range(MAX_FILTERS):
        known.of(Match("y", [number]))

    assert known.of(Match("x", [0])) is not first


async def test_filtered_search_agrees_with_exact_search_while_passages_come_and_go(
    collection: Collection, repetitions: Callable[[int, int], int]
) -> None:
    random = np.random.default_rng(4)
    corpus, numbered = embeddings(2600), {}
    for rows in np.array_split(np.arange(2600), 3):
        numbered.update(await replace(collection, rows.tolist(), corpus))
    await collection.settled()

    found = wanted = 0
    for round_ in range(repetitions(8, 200)):
        changed = random.choice(2600, 60, replace=False).tolist()
        corpus[changed] = embeddings(60, seed=100 + round_)
        numbered.update(await replace(collection, changed[:40], corpus))
        await collection.delete([f"p{number:05}" for number in changed[40:]])
        for number in changed[40:]:
            numbered.pop(number, None)
        queries = embeddings(4, seed=round_)
        for condition, takes in zip(FILTERS, TAKES, strict=True):
            alive = sorted(number for number in numbered if takes(number))
            results = await collection.search(queries, 10, filter=condition, view=View.ID)
            for query, hits in zip(queries, results, strict=True):
                order = nearest_ids(corpus[alive], query, 10)
                truth = {f"p{alive[int(each[1:])]:05}" for each in order}
                assert len(set(ids(hits))) == len(hits) == len(truth)
                assert {int(each[1:]) for each in ids(hits)} <= set(alive)
                found += len(truth & set(ids(hits)))
                wanted += len(truth)

    assert found >= 0.97 * wanted, f"{found} of {wanted}"


TAKES: list[Callable[[int], bool]] = [
    lambda number: number >= 0,
    lambda number: number % 100 < 50,
    lambda number: number % 100 < 10,
    under_2,
    lambda number: number == 7,
    lambda number: number < 0,
    lambda number: 5 <= number % 100 < 50,
    lambda number: number % 100 < 2 or number % 100 >= 97,
    lambda number: number % 100 >= 98,
]


async def replace(
    collection: Collection, numbers: list[int], corpus: np.ndarray
) -> dict[int, bool]:
    """Write passages of these numbers anew."""
    written = [passages(1, number, percent=number % 100)[0] for number in numbers]
    await collection.upsert(written, list(corpus[numbers]))
    return dict.fromkeys(numbers, True)


async def test_matches_that_all_lie_far_from_the_query_are_found(collection: Collection) -> None:
    corpus = embeddings(4000)
    query = corpus[0]
    far = np.argsort(corpus @ query)[:2000]
    sides = np.zeros(4000, bool)
    sides[far] = True
    written = [passages(1, number, far=bool(sides[number]))[0] for number in range(4000)]
    await collection.upsert(written, list(corpus))
    await collection.settled()

    for _ in range(3):
        [hits] = await collection.search(query[None], 10, filter=Match("far", [True]))

        alive = np.sort(far)
        truth = [f"p{alive[int(each[1:])]:05}" for each in nearest_ids(corpus[alive], query, 10)]
        assert ids(hits) == truth


class Unasked(Reader):
    """A reader whom nobody asks."""

    def __init__(self) -> None:
        """Open nothing."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"asked for {name}")


class Failing:
    """A reader whose caller has gone."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def accepted(self, condition: Filter, labels: object) -> object:
        raise Unavailable("nobody waits for this any more")


def as_list(slots: np.ndarray | None) -> list[int] | None:
    return None if slots is None else slots.tolist()
