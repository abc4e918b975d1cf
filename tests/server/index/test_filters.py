"""What a filter takes, against the real database, and against a reference in plain Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.filter_sql import accepts, members
from finesieve_server.index.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    AllOf,
    AnyOf,
    Exists,
    Filter,
    InDocument,
    Match,
    NoneOf,
    Range,
)
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import JsonScalar, JsonValue, Passage, View
from finesieve_server.index.store import Store

BIG = 10**6

METADATA: Mapping[str, Mapping[str, JsonValue]] = {
    "one": {"x": 1},
    "one_point_zero": {"x": 1.0},
    "text_one": {"x": "1"},
    "true": {"x": True},
    "false": {"x": False},
    "zero": {"x": 0},
    "null": {"x": None},
    "empty_text": {"x": ""},
    "empty_list": {"x": []},
    "empty_object": {"x": {}},
    "list": {"x": [1, "a", [None, True]]},
    "nested": {"x": {"y": {"z": "deep"}}},
    "objects": {"x": [{"y": 1}, {"y": 2}]},
    "dotted": {"x.y": 1},
    "minus_zero": {"x": -0.0},
    "huge": {"x": 1e308},
    "date": {"x": "2024-02-29T12:00:00Z"},
    "accent": {"x": "é"},
    "astral": {"x": "😀"},
    "bmp_end": {"x": "\uffff"},
    "nul": {"x": "a\x00b"},
    "nothing": {},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("filters") / "store.db"
    Store.create(path, "uid")
    opened = Store(path)
    add(opened, [Passage(id_, metadata=metadata) for id_, metadata in METADATA.items()])
    return opened


def add(store: Store, passages: Sequence[Passage]) -> None:
    with store.writing() as writer:
        writer.add(passages, [None] * len(passages))


def taken(store: Store, condition: Filter) -> set[str]:
    """Return the ids that the filter takes, the same by every way that the index has."""
    with store.reading() as reader:
        walked = reader.page("", BIG, 1 << 40, condition, View.ID)[0]
        by_label = reader.by_labels(reader.labels_matching(condition), View.ID)
        everything = reader.by_labels(np.arange(1, store.count + 1), View.ID)
        accepted = reader.accepted(condition, np.array(sorted(everything), np.int64))
        bound = reader.at_most(condition, BIG)
    found = {passage.id for passage in walked}
    assert found == {passage.id for passage in by_label.values()}
    assert found == {everything[label].id for label in accepted.tolist()}
    assert bound >= len(found)
    return found


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ([1], {"one", "one_point_zero", "list"}),
        (["1"], {"text_one"}),
        ([True], {"true", "list"}),
        ([False], {"false"}),
        ([0], {"zero", "minus_zero"}),
        ([None], {"null", "list"}),
        ([""], {"empty_text"}),
        (["a\x00b"], {"nul"}),
        (["a"], {"list"}),
        ([0, "é", None], {"zero", "minus_zero", "accent", "null", "list"}),
        (["%"], set()),
    ],
)
def test_numbers_strings_booleans_and_null_are_never_confused(
    store: Store, values: list[JsonScalar], ids: set[str]
) -> None:
    assert taken(store, Match("x", values)) == ids


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        (Range("x", gt=0), {"one", "one_point_zero", "list", "huge"}),
        (Range("x", gte=0, lt=1), {"zero", "minus_zero"}),
        (Range("x", lte=0), {"zero", "minus_zero"}),
        (Range("x", gte="2024", lt="2025"), {"date"}),
        (Range("x", gt="é"), {"astral", "bmp_end"}),
        (Range("x", gt="\uffff"), {"astral"}),
        (Range("x", lt="1"), {"empty_text"}),
        (Range("x", lte="1"), {"empty_text", "text_one"}),
        (Range("x", gt=5, lt=3), set()),
    ],
)
def test_a_range_takes_its_own_kind_alone(store: Store, condition: Range, ids: set[str]) -> None:
    assert taken(store, condition) == ids


def test_paths_go_through_objects_and_lists(store: Store) -> None:
    assert taken(store, Match("x.y.z", ["deep"])) == {"nested"}
    assert taken(store, Match("x.y", [2])) == {"objects"}
    assert taken(store, Match("x.y", [1])) == {"objects", "dotted"}


def test_a_field_exists_whatever_its_value(store: Store) -> None:
    assert taken(store, Exists("x")) == set(METADATA) - {"nothing", "dotted"}
    assert taken(store, Exists("x.y")) == {"nested", "objects", "dotted"}
    assert taken(store, NoneOf([Exists("x")])) == {"nothing", "dotted"}


@pytest.mark.parametrize(
    "hostile", ["x' OR 1=1 --", '"; DROP TABLE passages; --', "?", "{}", "{0}", "%s", ":x", "é\x00"]
)
def test_sql_in_names_and_values_is_a_plain_name_or_value(store: Store, hostile: str) -> None:
    for condition in (
        Match(hostile, ["1"]),
        Match("x", [hostile]),
        Range("x", gte=hostile, lte=hostile),
        Range(hostile, gt=0),
        Exists(hostile),
        InDocument(hostile),
    ):
        assert taken(store, condition) == set()

    assert taken(store, Exists("x")), "nothing is lost"


def deep(levels: int) -> Filter:
    condition: Filter = Match("x", [1])
    for _ in range(levels - 1):
        condition = AllOf([condition])
    return condition


@pytest.mark.parametrize(
    "condition",
    [
        AllOf([]),
        AnyOf([Match("x", [1]), NoneOf([])]),
        Match("x", []),
        Range("x"),
        Range("x", gt=1, lt="2"),
        Range("x", gt=True),
        Range("x", gt=float("nan")),
        Match("x", [float("inf")]),
        Match("x", [["list"]]),  # type: ignore[list-item]
        deep(MAX_DEPTH + 1),
        deep(100_000),
        AnyOf([Match("x", [1])] * MAX_CONDITIONS),
        Match("x", list(range(20_000))),
    ],
)
def test_a_filter_that_says_nothing_mixes_kinds_or_is_too_large_is_refused(
    condition: Filter,
) -> None:
    with pytest.raises(InvalidArgument) as from_test:
        accepts(condition)
    with pytest.raises(InvalidArgument) as from_members:
        members(condition, lambda _: 1)

    assert from_test.value.field == from_members.value.field == "filter"


def test_the_largest_filters_work(store: Store) -> None:
    leaves = [Match("x", [n]) for n in range(2, MAX_CONDITIONS)]

    assert taken(store, AnyOf([*leaves, Match("x", [1])])) == {"one", "one_point_zero", "list"}
    assert taken(store, AllOf(leaves)) == set()
    assert taken(store, NoneOf(leaves)) == set(METADATA)
    assert taken(store, deep(MAX_DEPTH)) == {"one", "one_point_zero", "list"}
    assert taken(store, Match("x", list(range(10_000)))) >= {"one", "zero"}


def test_random_filters_take_what_a_plain_reading_of_them_takes(tmp_path: Path) -> None:
    Store.create(tmp_path / "store.db", "uid")
    store = Store(tmp_path / "store.db")
    random = np.random.default_rng(20)
    corpus = [random_passage(random, number) for number in range(400)]
    add(store, corpus)

    for _ in range(200):
        condition = random_filter(random, 3)
        expected = {passage.id for passage in corpus if takes(condition, passage)}
        assert taken(store, condition) == expected, condition
    store.close()


SCALARS: Sequence[JsonScalar] = (0, 1, 2.5, -3, "", "a", "b", "ab", True, False, None)


def random_passage(random: np.random.Generator, number: int) -> Passage:
    metadata: dict[str, JsonValue] = {}
    for field in "fgh":
        shape = random.integers(4)
        if shape == 1:
            metadata[field] = SCALARS[int(random.integers(len(SCALARS)))]
        elif shape == 2:
            metadata[field] = [SCALARS[i] for i in random.integers(len(SCALARS), size=3).tolist()]
        elif shape == 3:
            metadata[field] = {"in": SCALARS[int(random.integers(len(SCALARS)))]}
    return Passage(f"p{number}", metadata=metadata, document_id=f"d{number % 7}")


def random_filter(random: np.random.Generator, depth: int) -> Filter:
    kind = random.integers(7 if depth else 4)
    field = str(random.choice(["f", "g", "h", "f.in", "g.in"]))
    if kind == 0:
        return Match(field, [SCALARS[i] for i in random.integers(len(SCALARS), size=2).tolist()])
    if kind == 1:
        low, high = sorted(random.integers(-4, 4, size=2).tolist())
        return Range(field, gt=low, lte=high) if low % 2 else Range(field, gte=low)
    if kind == 2:
        return Range(field, gt="a") if random.integers(2) else Range(field, lt="b", gte="")
    if kind == 3:
        return Exists(field) if random.integers(2) else InDocument(f"d{random.integers(8)}")
    inner = [random_filter(random, depth - 1) for _ in range(random.integers(1, 4))]
    return (AllOf, AnyOf, NoneOf)[kind - 4](inner)


def takes(condition: Filter, passage: Passage) -> bool:
    """Read a filter as the contract does, word for word."""
    match condition:
        case AllOf(filters):
            return all(takes(inner, passage) for inner in filters)
        case AnyOf(filters):
            return any(takes(inner, passage) for inner in filters)
        case NoneOf(filters):
            return not any(takes(inner, passage) for inner in filters)
        case InDocument(document_id):
            return passage.document_id == document_id
        case Exists(field):
            return bool(values_at(passage.metadata, field))
        case Match(field, values):
            return any(
                kind_of(value) == kind_of(wanted) and value == wanted
                for value in values_at(passage.metadata, field)
                for wanted in values
            )
        case Range(field, gt, gte, lt, lte):
            bounds = [bound for bound in (gt, gte, lt, lte) if bound is not None]
            return any(
                kind_of(value) == kind_of(bounds[0])
                and (gt is None or value > gt)  # type: ignore[operator]
                and (gte is None or value >= gte)  # type: ignore[operator]
                and (lt is None or value < lt)  # type: ignore[operator]
                and (lte is None or value <= lte)  # type: ignore[operator]
                for value in values_at(passage.metadata, field)
            )


def values_at(metadata: JsonValue, path: str) -> list[JsonValue]:
    """Return what stands at a path: values, and the elements of lists, however deep."""
    if isinstance(metadata, list):
        return [value for element in metadata for value in values_at(element, path)]
    found: list[JsonValue] = []
    for key, value in metadata.items() if isinstance(metadata, Mapping) else ():
        if key == path:
            found += elements(value)
        elif path.startswith(f"{key}."):
            found += values_at(value, path.removeprefix(f"{key}."))
    return found


def elements(value: JsonValue) -> list[JsonValue]:
    """Return the value, or what a list holds, itself where that is nothing."""
    if isinstance(value, list) and value:
        return [inner for element in value for inner in elements(element)]
    return [value]


def kind_of(value: JsonValue) -> str:
    if isinstance(value, bool) or value is None:
        return repr(value)
    return "text" if isinstance(value, str) else "number" if isinstance(value, float | int) else "x"


def test_a_condition_never_walks_all_passages_to_count(store: Store) -> None:
    with store.reading() as reader:
        for condition in (Match("x", [1]), Range("x", gt=0), Exists("x"), InDocument("d")):
            plans = plan(reader, "SELECT * FROM passages p WHERE " + members(condition, id).sql)
            assert not any(step.startswith("SCAN") for step in plans), plans


def test_a_row_is_tested_by_its_own_few_fields(store: Store) -> None:
    leaves: list[Filter] = [Match("x", [1, 2]), Range("x", gt=0), Exists("x"), Range("x", lt="a")]
    with store.reading() as reader:
        for condition in (*leaves, NoneOf(leaves), AnyOf(leaves), AllOf(leaves)):
            plans = plan(
                reader,
                f"SELECT p.id FROM passages p WHERE p.id > '' AND {accepts(condition).sql}"
                " ORDER BY p.id LIMIT 5",
            )
            fields = [step for step in plans if " f " in f"{step} "]
            assert fields
            assert all("fields_by_passage (label=? AND field=?" in step for step in fields), plans
            assert not any("TEMP B-TREE" in step for step in plans), plans


def plan(reader: Reader, sql: str) -> list[str]:
    values = ("x",) * sql.count("?")
    rows = reader._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
    return [str(row[3]) for row in rows]
