"""Which words a text has for lexical search, in any script, and however hostile."""

import unicodedata

import pytest

from finesieve_server.index.words import terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello_world, don't 3.14!", ["hello", "world", "don", "t", "3", "14"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("os.path.join(a, b)", ["os", "path", "join", "a", "b"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("\uff46\uff55\uff4c\uff4c \uff37", ["full", "w"]),  # full-width letters
        ("東京へ", ["東", "東京", "京", "京へ", "へ"]),
        ("Python3で東京", ["python3", "で", "で東", "東", "東京", "京"]),
        ("한국어", ["한", "한국", "국", "국어", "어"]),
        ("hot 🔥👩‍🔬", ["hot", "🔥", "👩", "🔬"]),
        ("", []),
        ("???\x00 --- \t\n", []),
    ],
)
def test_words_are_what_a_reader_of_the_script_takes_for_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_tones_tell_vietnamese_words_apart_however_they_are_written() -> None:
    text = "má mạ ma mà mả mã"

    composed = words_of(unicodedata.normalize("NFC", text))
    decomposed = words_of(unicodedata.normalize("NFD", text))

    assert composed == decomposed
    assert len(set(composed)) == 6


@pytest.mark.parametrize(
    "query",
    ['"', '""" " "', "a AND b", "NEAR(a b, 2)", "title: a*", "-a +b ^c", "(((", "a\x00b", "'; --"],
)
def test_operators_and_quotes_of_search_languages_are_words_or_separate_them(query: str) -> None:
    letters = [word for word in query.lower().replace("\x00", " ").split() if word.isalpha()]

    assert set(letters) <= set(words_of(query))
    assert all(word.isalnum() for word in words_of(query))


@pytest.mark.parametrize(
    "junk", ["\u0301" * 65_000, "a" * 65_000 + "é", "👩‍🔬" * 20_000, "東" * 65_000, "é " * 32_000]
)
def test_junk_gives_no_more_words_than_twice_its_characters(junk: str) -> None:
    assert len(words_of(junk)) <= 2 * len(junk)


def test_words_that_differ_in_an_english_ending_are_found_by_the_same_term() -> None:
    one, two, other = terms_of(["retrieving", "retrieval", "sieve"]).tolist()[:3]

    assert one == two
    assert one != other
    assert len(terms_of([])) == 0
