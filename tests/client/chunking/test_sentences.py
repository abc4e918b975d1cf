import random
from collections.abc import Callable
from itertools import pairwise

import pytest
import regex

from finesieve_client.chunking.sentences import finer, sentences


def cut(text: str, language: str = "en") -> list[str]:
    return [text[start:end] for start, end in sentences(text, 0, len(text), language)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Smith paid $3.50 at 5 p.m. on Monday.", "He left."],
        [
            "J. R. Tolkien wrote it, e.g. for his sons.",
            "Version 1.2.3 is out!",
            '"Is it?" he asked.',
        ],
        ["See https://example.com/a.b?c=d for more.", "Then go on."],
        ["Il a dit « Bonjour ! » puis est parti.", "Voilà."],
        ["Ông sinh tại TP. Hồ Chí Minh.", "Ông là GS. TS. của trường.", "Giá là 3.500 đồng."],
        ["हिन्दी वाक्य।", "दूसरा वाक्य।"],
        ["مرحبا بكم.", "كيف حالك؟", "بخير."],
        ["**Bold is closed.**", "Then plain.", "(So is this.)"],
    ],
    ids=lambda expected: expected[0][:20],
)
def test_sentences_end_where_a_reader_ends_them(expected: list[str]) -> None:
    assert cut(" ".join(expected)) == expected


def test_full_stops_without_spaces_end_sentences_too() -> None:
    expected = ["今日は天気がいいです。", "明日は雨が降ります！", "本当ですか？", "はい。"]

    assert cut("".join(expected)) == expected


def test_a_sentence_goes_on_over_the_end_of_a_line_but_not_over_a_blank_line() -> None:
    assert cut("One sentence\nin two lines. Two.\n\nno full stop\n\nNext") == [
        "One sentence\nin two lines.",
        "Two.",
        "no full stop",
        "Next",
    ]


def test_a_long_text_has_the_same_sentences_as_its_parts() -> None:
    short = ["One of five words, e.g. this.", "今日は天気がいいです。", "x" * 10_000 + "!"]

    assert cut(" ".join(short * 300)) == short * 300


def test_a_part_of_a_text_is_cut_at_its_own_positions() -> None:
    text = "Left out. One. Two. Left out."

    assert sentences(text, 10, 19) == [(10, 14), (15, 19)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one, two\nthree, four", ["one, two", "three, four"]),
        ("one, two; three: four", ["one,", "two;", "three:", "four"]),
        ("1,000 and 2:30", ["1,000", "and", "2:30"]),
        ("一，二；三", ["一，", "二；", "三"]),
        ("one two", ["one", "two"]),
        ("a" * 40, ["a" * 16, "a" * 16, "a" * 8]),
        ("a", ["a"]),
    ],
)
def test_what_is_too_long_is_cut_at_the_next_finer_place(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in finer(text, (0, len(text)))] == parts


@pytest.mark.parametrize("character", ["👩‍👩‍👧‍👦", "e\u0301", "한", "🇻🇳", "ế", "क्षि"])
def test_no_cut_is_inside_of_a_character(character: str) -> None:
    text = character * 50
    whole = {each.end() for each in regex.finditer(r"\X", text)}

    parts = finer(text, (0, len(text)))

    assert len(parts) > 1
    assert {end for _, end in parts} <= whole


def test_marks_upon_marks_are_cut_all_the_same() -> None:
    text = "a" + "\u0301" * 1_000

    assert max(end - start for start, end in finer(text, (0, len(text)))) <= 64


def test_all_but_white_space_is_in_some_sentence(repetitions: Callable[[int, int], int]) -> None:
    pieces = [
        "word",
        "Dr.",
        "3.14",
        "。",
        "!",
        "?",
        '"',
        "**",
        "\n",
        "\n\n",
        " ",
        "a,",
        "tiếng",
        "\t",
    ]
    for seed in range(repetitions(200, 20_000)):
        text = "".join(random.Random(seed).choices(pieces, k=60))

        found = sentences(text, 0, len(text))

        joined = "".join("".join(text[start:end].split()) for start, end in found)
        assert joined == "".join(text.split()), seed
        assert all(before[1] <= after[0] for before, after in pairwise(found))
