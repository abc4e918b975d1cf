"""What is refused before it costs anything, and in what slices texts are tokenized."""

import pytest

from finesieve_server.errors import EmptyField, TooLong
from finesieve_server.search.texts import check_text, full_text, slices


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u3000"])
def test_nothing_but_white_space_is_empty(text: str) -> None:
    with pytest.raises(EmptyField, match="query"):
        check_text("query", text, 10)


def test_a_text_too_long_says_how_long_it_is_and_may_be() -> None:
    with pytest.raises(TooLong, match="has 11 characters; at most 10"):
        check_text("query", "x" * 11, 10)


def test_a_title_stands_before_the_text_with_one_space() -> None:
    assert full_text("A title", "and text") == "A title and text"
    assert full_text("", "text alone") == "text alone"


def test_slices_hold_every_text_in_order_and_few_characters_each() -> None:
    texts = [str(number) * (number % 40_000) for number in range(0, 200_000, 7_001)]

    parts = list(slices(texts))

    assert [text for part in parts for text in part] == texts
    assert all(len(part) == 1 or sum(map(len, part)) <= 32_768 for part in parts)
