"""What a collection finds by words is what the texts say at that moment, exactly."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import apsw
import numpy as np
import pytest

from finesieve_server.errors import DataLoss, InvalidArgument
from finesieve_server.index.bm25 import K1, B
from finesieve_server.index.collection import Collection
from finesieve_server.index.filters import Filter, InDocument, Match, NoneOf, Range
from finesieve_server.index.lexical import MAX_WORDS_COUNTED, MAX_WORDS_READ
from finesieve_server.index.postings import TITLE_WEIGHT
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import Found, Passage, View
from finesieve_server.index.segments import MERGED_AT_ONCE
from finesieve_server.index.store import Store
from tests.server.index.corpus import embeddings, ids

VOCABULARY = [f"w{number}x" for number in range(400)]


def written(numbers: Sequence[int], edition: int = 0) -> list[Passage]:
    """Return passages of words with natural frequencies; an edition has other words."""
    passages = []
    for number in numbers:
        random = np.random.default_rng((number, edition))
        ranks = np.minimum(random.zipf(1.3, random.integers(1, 60)), len(VOCABULARY)) - 1
        words = [VOCABULARY[rank] for rank in ranks]
        passages.append(
            Passage(
                f"p{number:05}",
                text=" ".join(words[1:]) or "only",
                title=words[0],
                metadata={"number": number, "third": number % 3},
                document_id=f"d{number % 7}",
                context_only=number % 11 == 5,
            )
        )
    return passages


async def store(collection: Collection, passages: Sequence[Passage]) -> None:
    await collection.upsert(passages, list(embeddings(len(passages))))


def expected(
    passages: Sequence[Passage], query: str, top_k: int, taken: Sequence[bool] | None = None
) -> dict[str, float]:
    """Return BM25 over the passages that may be found, by the formula, best first."""
    bags = [
        Counter([*p.title.split() * TITLE_WEIGHT, *p.text.split()])
        for p in passages
        if not p.context_only
    ]
    names = [p.id for p in passages if not p.context_only]
    average = sum(map(Counter.total, bags)) / len(bags)
    scores = dict.fromkeys(names, 0.0)
    for word in set(query.split()):
        having = sum(word in bag for bag in bags)
        rarity = math.log(1 + (len(bags) - having + 0.5) / (having + 0.5))
        for name, bag in zip(names, bags, strict=True):
            burden = K1 * (1 - B + B * bag.total() / average)
            scores[name] += rarity * bag[word] * (K1 + 1) / (bag[word] + burden)
    if taken is not None:
        accepted = {p.id for p, each in zip(passages, taken, strict=True) if each}
        scores = {name: score for name, score in scores.items() if name in accepted}
    best = sorted(scores, key=lambda name: -scores[name])[:top_k]
    return {name: scores[name] for name in best if scores[name] > 0}


def require_equal(found: Sequence[Found], best: dict[str, float]) -> None:
    """The same scores in the same order; ids may change places where scores do not differ."""
    assert [each.score for each in found] == pytest.approx(list(best.values()), rel=1e-4)
    for each in found:
        if each.passage.id in best:
            assert each.score == pytest.approx(best[each.passage.id], rel=1e-4)
    assert len(set(ids(found))) == len(found)


async def test_the_best_by_bm25_are_found_however_the_passages_came(collection: Collection) -> None:
    passages = written(range(2000))
    random = np.random.default_rng(5)
    start = 0
    while start < len(passages):
        size = int(random.choice([1, 2, 7, 40, 300]))
        await store(collection, passages[start : start + size])
        start += size

    for query in ("w0x", "w0x w1x w2x", "w17x w5x w200x w399x", "w3x w3x", "absent w9x"):
        [found] = await collection.search_lexical([query], 50)
        require_equal(found, expected(passages, query, 50))


async def test_updates_and_deletes_show_at_once_and_leave_nothing_behind(
    collection: Collection,
) -> None:
    now = {passage.id: passage for passage in written(range(600))}
    await store(collection, list(now.values()))
    random = np.random.default_rng(6)

    for edition in range(1, 40):
        changed = written(random.choice(700, 25, replace=False).tolist(), edition)
        await store(collection, changed)
        now |= {passage.id: passage for passage in changed}
        gone = [f"p{number:05}" for number in random.choice(700, 10).tolist()]
        await collection.delete(gone)
        now = {id_: passage for id_, passage in now.items() if id_ not in gone}

        [found] = await collection.search_lexical(["w2x w30x w111x"], 1000)
        require_equal(found, expected(list(now.values()), "w2x w30x w111x", 1000))


@pytest.mark.parametrize(
    "condition",
    [
        Match("third", [0]),
        Match("number", [3, 4, 1999]),
        InDocument("d3"),
        NoneOf([InDocument("d3")]),
        Range("number", gte=1990),
        Match("third", [77]),
    ],
)
async def test_under_a_filter_the_best_of_its_matches_are_found(
    collection: Collection, condition: Filter
) -> None:
    passages = written(range(2000))
    await store(collection, passages[:1000])
    await store(collection, passages[1000:])
    matching, _ = await collection.page("", 5000, 1 << 30, condition, View.ID)
    names = {passage.id for passage in matching}

    [found] = await collection.search_lexical(["w1x w40x w77x"], 30, filter=condition)

    taken = [passage.id in names for passage in passages]
    require_equal(found, expected(passages, "w1x w40x w77x", 30, taken))


async def test_a_filter_that_takes_few_of_very_many_candidates_still_finds_them(
    collection: Collection,
) -> None:
    count = 17_000  # more than the filter is asked about one by one
    for start in range(0, count, 1000):
        numbers = range(start, start + 1000)
        await store(
            collection,
            [Passage(f"p{n}", text="sieve", metadata={"rest": n % 5000}) for n in numbers],
        )

    rare = NoneOf([Range("rest", gt=0)])
    [found] = await collection.search_lexical(["sieve"], 1000, filter=rare)

    assert ids(found) == ["p0", "p5000", "p10000", "p15000"]


async def test_every_query_of_several_has_its_own_answer(collection: Collection) -> None:
    passages = written(range(200))
    await store(collection, passages)
    queries = [f"w{number}x" for number in range(30)]

    answers = await collection.search_lexical(queries, 5, view=View.ID)

    for query, found in zip(queries, answers, strict=True):
        require_equal(found, expected(passages, query, 5))


async def test_of_a_very_long_query_the_rarest_of_its_first_words_count(
    collection: Collection,
) -> None:
    common = [f"c{number}" for number in range(MAX_WORDS_READ - MAX_WORDS_COUNTED)]
    rare = [f"r{number}" for number in range(MAX_WORDS_COUNTED)]
    passages = [
        Passage("common", text=" ".join(common)),
        Passage("both", text=" ".join([*common, *rare])),
        Passage("late", text="late"),
    ]
    await store(collection, passages)

    [found] = await collection.search_lexical([" ".join([*common, *rare, "late"])], 5)
    [alone] = await collection.search_lexical([" ".join(rare)], 5)

    assert ids(found) == ["both"]
    assert found[0].score == alone[0].score


@pytest.mark.parametrize("query", ["", '"', "\x00", "???", "absent", "NEAR(", "*"])
async def test_a_query_without_known_words_finds_nothing(
    collection: Collection, query: str
) -> None:
    await store(collection, written(range(20)))

    assert await collection.search_lexical([query], 5) == [[]]


async def test_words_are_found_in_titles_in_any_case_and_script(collection: Collection) -> None:
    await store(
        collection,
        [
            Passage("title", title="Der Große STRASSENBAU", text="x"),
            Passage("tones", text="m\u00e1 l\u00fac"),
            Passage("han", text="我喜欢喝茶。"),
            Passage("emoji", text="on 🔥"),
            Passage("wordless", text="... --- ..."),
            Passage("parent", text="hidden sieve", context_only=True),
        ],
    )

    async def find(query: str) -> list[str]:
        [found] = await collection.search_lexical([query], 10)
        return ids(found)

    assert await find("grosse strassenbau") == ["title"]
    assert await find("ma\u0301") == ["tones"], "NFD finds NFC"
    assert await find("ma") == [], "another word: tones matter"
    assert await find("喝茶") == ["han"]
    assert await find("茶") == ["han"]
    assert await find("🔥") == ["emoji"]
    assert await find("hidden") == [], "context_only"


async def test_a_batch_that_is_refused_leaves_no_words(collection: Collection) -> None:
    batch = [
        Passage("good", text="sieve"),
        Passage("bad", text="sieve", metadata={"x": float("nan")}),
    ]

    with pytest.raises(InvalidArgument):
        await store(collection, batch)

    assert await collection.search_lexical(["sieve"], 5) == [[]]


async def test_segments_stay_few_and_the_dead_are_swept_out(tmp_path: Path) -> None:
    Store.create(path := tmp_path / "store.db", "uid")
    opened = Store(path)
    most = 0
    for number in range(300):
        with opened.writing() as writer:
            writer.add([Passage(f"p{number}", text="sieve")], [None])
            if number >= 10:
                writer.remove(writer.labels_of([f"p{number - 10}"]))
        most = max(most, len(rows(path)))
    living, slots = (sum(column) for column in zip(*rows(path), strict=True))
    opened.close()

    assert most <= 3 * MERGED_AT_ONCE
    assert living == 10
    assert slots <= 2 * living + MERGED_AT_ONCE


async def test_what_was_rebuilt_is_what_was_written(tmp_path: Path) -> None:
    Store.create(path := tmp_path / "store.db", "uid")
    opened = Store(path)
    steps: list[tuple[str, int, int]] = []
    with opened.writing() as writer:
        writer.add(written(range(2500)), [None] * 2500)
        writer.remove(writer.labels_of([f"p{number:05}" for number in range(0, 900, 2)]))
        before = writer.lexical.find("w1x w5x", 100, writer.reader(), None)

        writer.rebuild_lexical(lambda *step: steps.append(step))
        after = writer.lexical.find("w1x w5x", 100, writer.reader(), None)
        require_sound(writer.reader())
    opened.close()

    assert np.array_equal(before[0], after[0])
    assert steps[-1][1] == steps[-1][2] > 1000


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM lexical_pages WHERE number = (SELECT max(number) FROM lexical_pages)",
        "UPDATE lexical_pages SET page = substr(page, 1, length(page) - 1)",
        "UPDATE lexical_pages SET page = zeroblob(length(page))",
        "UPDATE lexical_lengths SET lengths = zeroblob(length(lengths))",
        "DELETE FROM lexical_lengths",
        "DELETE FROM lexical_segments",
        "UPDATE contents SET text = 'another' WHERE label = 7",
        "UPDATE passages SET context_only = 1 WHERE label = 7",
    ],
)
async def test_damage_is_noticed_by_a_check(tmp_path: Path, damage: str) -> None:
    Store.create(path := tmp_path / "store.db", "uid")
    opened = Store(path)
    with opened.writing() as writer:
        writer.add(written(range(300)), [None] * 300)
    with opened.reading() as reader:
        require_sound(reader)
    with apsw.Connection(str(path)) as connection:
        connection.execute(damage)

    with opened.reading() as reader, pytest.raises(DataLoss):
        require_sound(reader)
    opened.close()


def require_sound(reader: Reader) -> None:
    reader.lexical.require_equal(reader.labels_to_retrieve(), reader.texts)


def rows(path: Path) -> list[tuple[int, int]]:
    """Return living and all passages of each segment."""
    connection = apsw.Connection(str(path))
    found = connection.execute("SELECT living, length(labels) / 8 FROM lexical_segments")
    return [(living, slots) for living, slots in found]
