"""Rankings become one by reciprocal rank, and no passage comes twice."""

from collections.abc import Sequence

import pytest

from finesieve_server.index.records import Found, Passage
from finesieve_server.search.fusion import fuse


def ranking(ids: str, score: float = 0.5) -> list[Found]:
    return [Found(Passage(id_), score) for id_ in ids]


def fused(rankings: Sequence[list[Found]], top_k: int = 10) -> str:
    return "".join(each.passage.id for each in fuse(rankings, top_k))


def test_the_score_is_the_sum_of_reciprocal_ranks() -> None:
    best, second, third = fuse([ranking("ab"), ranking("cb")], 10)

    assert best.passage.id == "b"
    assert best.score == pytest.approx(2 / 62)
    assert second.score == third.score == pytest.approx(1 / 61)


def test_ties_go_by_the_best_rank_and_then_by_id() -> None:
    assert fused([ranking("za"), ranking("yb")]) == "yzab"
    # 1/61 + 1/63 and 1/62 + 1/62 are no tie: who was first somewhere wins by the sum.
    assert fused([ranking("mnp"), ranking("qnm")])[:2] == "mn"


def test_one_ranking_alone_keeps_its_scores() -> None:
    assert fuse([ranking("abc", 7.0)], 2) == ranking("ab", 7.0)


def test_what_one_ranking_lacks_the_other_gives() -> None:
    assert fused([ranking("abc"), []], 2) == "ab"
    assert fused([[], []]) == ""
    assert fused([ranking("a"), ranking("b"), ranking("b")]) == "ba"


def test_a_passage_brings_what_the_first_ranking_that_has_it_read() -> None:
    with_tokens = [Found(Passage("a", text="first"), 1.0, b"tokens")]

    [found] = fuse([with_tokens, ranking("a")], 5)

    assert (found.passage.text, found.tokens) == ("first", b"tokens")
