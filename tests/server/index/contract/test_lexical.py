"""What words find, whichever engine counts them."""

import pytest

from finesieve_server.index.filters import Match
from finesieve_server.index.records import Passage, View
from tests.server.index.contract.engines import Collection
from tests.server.index.corpus import embeddings, ids

TEXTS = {
    "title": Passage("title", title="The Coarse SIEVE", text="comes first"),
    "twice": Passage("twice", text="sieve after sieve", metadata={"kind": "x"}),
    "tones": Passage("tones", text="m\u00e1 l\u00fac"),
    "other": Passage("other", text="nothing of the kind", metadata={"kind": "x"}),
}


async def store(collection: Collection, *passages: Passage) -> None:
    await collection.upsert(passages, list(embeddings(len(passages))))


async def found(collection: Collection, query: str) -> list[str]:
    [answer] = await collection.search_lexical([query], 10)
    return ids(answer)


async def test_words_are_found_in_titles_and_texts_in_any_case(collection: Collection) -> None:
    await store(collection, *TEXTS.values())

    assert set(await found(collection, "Sieve")) == {"title", "twice"}
    assert await found(collection, "COARSE kind sieve") != []
    assert await found(collection, "m\u00e1") == ["tones"]
    assert await found(collection, "ma") == [], "another word: tones matter"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("我喜欢喝茶。", "喝茶"),
        ("すもももももももものうち", "すもも"),
        ("한국어로 말해요", "한국어"),
        ("ไปกินข้าว", "กินข้าว"),
        ("हिन्दी में", "हिन्दी"),
        ("hot 🔥", "🔥"),
        ("She was running.", "run"),
        ("call foo_bar(x)", "foo"),
        ("Lange Straße", "strasse"),
        ("caf\u00e9 noir", "cafe\u0301"),
        ("\uff26\uff55\uff4c\uff4c width", "full"),
    ],
)
async def test_words_are_those_of_every_script_and_way_of_writing(
    collection: Collection, text: str, query: str
) -> None:
    await store(collection, Passage("sought", text=text), *TEXTS.values())

    assert await found(collection, query) == ["sought"]


async def test_a_word_of_the_title_counts_twice(collection: Collection) -> None:
    await store(
        collection,
        Passage("text", text="sieve of one two"),
        Passage("title", title="sieve", text="one two"),
        Passage("neither", text="one two three four"),
    )

    assert await found(collection, "sieve") == ["title", "text"]


async def test_a_word_twice_in_a_query_counts_once(collection: Collection) -> None:
    await store(collection, *TEXTS.values())

    [once, twice] = await collection.search_lexical(["sieve kind", "sieve kinds kind kind"], 10)

    assert [each.score for each in once] == [each.score for each in twice]


async def test_every_word_of_a_long_text_is_found(collection: Collection) -> None:
    long = " ".join(f"{word} and so on" for word in range(4_000))
    await store(collection, Passage("long", text=long), *TEXTS.values())

    assert await found(collection, "0") == await found(collection, "3999") == ["long"]


async def test_every_word_of_very_many_is_found(collection: Collection) -> None:
    await store(collection, Passage("many", text=" ".join(map(str, range(10_000)))))

    assert await found(collection, "0") == ["many"]
    assert await found(collection, "9999") == ["many"]


async def test_the_best_come_first_and_only_as_many_as_asked(collection: Collection) -> None:
    await store(collection, *TEXTS.values())

    [answer] = await collection.search_lexical(["sieve first"], 10)
    [best] = await collection.search_lexical(["sieve first"], 1)

    assert ids(answer)[0] == "title", "both words"
    assert answer[0].score > answer[1].score > 0
    assert ids(best) == ["title"]
    assert answer[0].passage.title == "The Coarse SIEVE"


async def test_only_matches_of_a_filter_are_found(collection: Collection) -> None:
    await store(collection, *TEXTS.values())

    [answer] = await collection.search_lexical(
        ["sieve"], 10, filter=Match("kind", ["x"]), view=View.ID
    )

    assert [each.passage for each in answer] == [Passage("twice")]


async def test_a_score_by_words_does_not_depend_on_the_filter(collection: Collection) -> None:
    await store(collection, *TEXTS.values())

    [every] = await collection.search_lexical(["sieve"], 10)
    [filtered] = await collection.search_lexical(["sieve"], 10, filter=Match("kind", ["x"]))

    [twice] = [each.score for each in every if each.passage.id == "twice"]
    assert [each.score for each in filtered] == [twice]


async def test_updates_and_deletes_show_at_once(collection: Collection) -> None:
    await store(collection, *TEXTS.values())

    await store(collection, Passage("twice", text="something else"))
    await collection.delete(["title"])

    assert await found(collection, "sieve") == []
    assert await found(collection, "something") == ["twice"]


async def test_context_is_never_found_by_its_words(collection: Collection) -> None:
    await collection.upsert([Passage("parent", text="hidden sieve", context_only=True)], [None])

    assert await found(collection, "hidden") == []


@pytest.mark.parametrize("query", ['"', "\x00", "???", "absent", "NEAR(", "*"])
async def test_a_query_without_known_words_finds_nothing(
    collection: Collection, query: str
) -> None:
    await store(collection, *TEXTS.values())

    assert await collection.search_lexical([query], 5) == [[]]
