"""What is refused or foretold before it costs anything, and in what slices texts are tokenized."""

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from finesieve_server.errors import EmptyField, TooLong
from finesieve_server.runtime.tokenizer import TokenIds, Tokenizer
from finesieve_server.search.call import Call
from finesieve_server.search.texts import TokenizerPool, check_text, full_text, slices

TOKENIZER = Path(__file__).parents[3] / "models" / "minilm-l6-cross-encoder" / "tokenizer.json"


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


async def test_how_many_tokens_a_text_has_is_foretold_from_those_that_came() -> None:
    tokenizer = Tokenizer(TOKENIZER)
    pool = TokenizerPool(1)
    text = "Return the sine of x, measured in radians. " * 20

    assert pool.forecast(tokenizer, len(text)) == 0, "nothing is known: nothing is expected"
    [ids] = await pool.encode(tokenizer, [text], Call(math.inf))

    assert 0.6 * len(ids) < pool.forecast(tokenizer, len(text)) < 0.8 * len(ids)
    pool.close()


async def test_a_change_of_language_is_learned_from() -> None:
    tokenizer = Tokenizer(TOKENIZER)
    pool = TokenizerPool(1)
    await pool.encode(tokenizer, ["plain English words, one after another " * 400] * 90, Call(0))
    english = pool.forecast(tokenizer, 1000)

    await pool.encode(tokenizer, ["漢字仮名交じり文を読む" * 1000] * 90, Call(0))

    assert pool.forecast(tokenizer, 1000) > 1.5 * english
    pool.close()


class Together(Tokenizer):
    """Tokenizes once as many threads are in it as were promised."""

    def __init__(self, threads: int) -> None:
        super().__init__(TOKENIZER)
        self._barrier = threading.Barrier(threads)

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        self._barrier.wait(timeout=10)
        return super().encode(texts)


async def test_a_lone_caller_s_texts_are_shared_out_to_every_idle_thread() -> None:
    pool = TokenizerPool(3)
    texts = [f"Return the sine of {number}, measured in radians. " * 30 for number in range(12)]

    shared = await pool.encode(Together(3), texts, Call(math.inf))

    alone = Tokenizer(TOKENIZER).encode(texts)
    assert [ids.tolist() for ids in shared] == [ids.tolist() for ids in alone]
    pool.close()


async def test_few_texts_are_not_worth_a_second_thread() -> None:
    pool = TokenizerPool(3)

    [ids] = await pool.encode(Together(1), ["Return the sine of x."], Call(math.inf))

    assert len(ids) == 7
    pool.close()
