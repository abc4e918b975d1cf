"""What is sent to Milvus for lexical search."""

from milvus_lite.analyzer import create_analyzer

from finesieve_server.index.milvus.lexical import (
    ANALYZER,
    MAX_WORDS_BYTES,
    words_of_passage,
    words_of_query,
)


def test_words_survive_milvus_as_they_are() -> None:
    words = words_of_passage("Straße", "喝茶 🔥 foo_bar m\u00e1 3.14")

    assert create_analyzer(ANALYZER).tokenize(words) == words.split(" ")
    assert len(words.split(" ")) == 11, "喝 茶 喝茶 🔥 foo bar má 3 14, and the title twice"


def test_a_passage_and_a_query_have_the_same_words() -> None:
    assert words_of_query("running") == words_of_passage("", "run")
    assert words_of_query("a b a") == words_of_query("a b")
    assert words_of_passage("", "a b a").split(" ").count(words_of_query("a")) == 2
    assert words_of_passage("a", "a").split(" ") == [words_of_query("a")] * 3
    assert words_of_query("???") == words_of_passage("", "") == ""


def test_of_too_many_words_those_that_repeat_others_go_first() -> None:
    numbers = [str(number) for number in range(8_000)]

    words = words_of_passage("sieve", " ".join(["and", "so", "on"] * 1_000 + numbers))

    assert len(words) <= MAX_WORDS_BYTES
    kept = words.split(" ")
    assert set(words_of_query(" ".join(["sieve and so on", *numbers])).split(" ")) == set(kept)
    assert len(kept) == 8_192


def test_of_too_many_different_words_the_last_of_the_text_go() -> None:
    words = words_of_passage("sieve", " ".join(str(number) for number in range(10_000))).split(" ")

    assert len(words) == len(set(words)) == 8_192
    assert words[0] == words_of_query("sieve")
    assert words[-1] == words_of_query("8190")
