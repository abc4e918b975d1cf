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
