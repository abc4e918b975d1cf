import time

import pytest

from finesieve_client.rag.sentences import MAX_CHARACTERS, sentences, words


def texts(text: str) -> list[str]:
    return [text[slice(*span)] for span in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            'Dr. Smith saw e.g. the U.S. Army. "Really?" he said. It is 3.5 m.',
            ["Dr. Smith saw e.g. the U.S. Army.", '"Really?" he said.', "It is 3.5 m."],
        ),
        ("A title\n\nText that\ngoes on.", ["A title", "Text that\ngoes on."]),
        ("Either:\n- this\n- that", ["Either:", "- this", "- that"]),
        ("TP. Hồ Chí Minh lớn. Hà Nội cũ.", ["TP. Hồ Chí Minh lớn.", "Hà Nội cũ."]),
        ("東京は首都です。大きい。", ["東京は首都です。", "大きい。"]),
        (" \n ", []),
    ],
)
def test_sentences_as_a_reader_sees_them(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_no_sentence_is_longer_than_a_reader_bears() -> None:
    text = "word " * 1_000

    assert max(map(len, texts(text))) <= MAX_CHARACTERS
    assert " ".join(texts(text)).split() == text.split()


def test_a_part_of_a_text_has_its_own_sentences() -> None:
    assert sentences("One. Two. Three.", 5, 9) == [(5, 9)]


@pytest.mark.parametrize("text", ["." * 65_536, ".)" * 30_000, "\n " * 30_000, "A." * 30_000])
def test_hostile_texts_take_no_longer_than_others(text: str) -> None:
    started = time.monotonic()

    sentences(text)

    assert time.monotonic() - started < 1  # a quadratic search takes minutes


def test_words_are_folded() -> None:
    assert words("Straße, HÀ NỘI's") == ["strasse", "hà", "nội", "s"]
