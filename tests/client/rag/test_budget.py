from collections.abc import Sequence

import pytest

from finesieve.v1.search_pb2 import SearchHit
from finesieve_client.rag.budget import LEAST_TOKENS, Budget, corrected, estimated
from finesieve_client.rag.sources import Source
from tests.client.rag.found import EELS, TAXES, TROUT, hit, hits


def by_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def fitted(found: Sequence[SearchHit], tokens: int) -> list[Source]:
    budget = Budget(found, tokens)
    return budget.fit(by_words(budget.texts()))


def long_text(count: int) -> str:
    return " ".join(
        f"Sentence {at} " + "says something of its own " * 8 + "." for at in range(count)
    )


def test_all_is_given_that_fits() -> None:
    given = fitted(hits(EELS, TROUT, TAXES), 1_000)

    assert [source.text for source in given] == [EELS, TROUT, TAXES]
    assert [source.number for source in given] == [1, 2, 3]


def test_whole_passages_come_first_and_a_short_rest_is_not_given() -> None:
    room = sum(by_words([EELS, TROUT])) + 2 * 4 + 5  # of a third one, five words

    assert [source.text for source in fitted(hits(EELS, TROUT, TAXES), room)] == [EELS, TROUT]


def test_the_last_is_cut_at_the_end_of_a_sentence() -> None:
    text = long_text(20)

    given = fitted([hit(EELS), hit(text, id="p2")], 200)

    assert given[0].text == EELS
    cut = given[1].text
    assert text.startswith(cut)
    assert cut.endswith(".")
    assert LEAST_TOKENS <= len(cut.split()) <= 200


def test_a_cut_passage_begins_with_the_chunk_that_won() -> None:
    text = long_text(20)
    start = text.index("Sentence 12")

    (source,) = fitted([hit(text, best=(start, len(text)))], 100)

    assert source.text.startswith("Sentence 12")
    (excerpt,) = source.excerpts
    assert text[slice(*excerpt.span)] == source.text


def test_a_window_goes_before_its_hit_is_cut() -> None:
    found = hit(EELS, before=[long_text(5)], after=[long_text(5)])

    (source,) = fitted([found], 60)

    assert source.text == EELS


def test_what_follows_a_passage_that_is_cut_is_not_given() -> None:
    given = fitted([hit(long_text(20)), hit(EELS, id="p2")], 100)

    assert len(given) == 1


def test_a_budget_that_holds_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="token_budget is 5; the title and first sentences"):
        fitted(hits(EELS), 5)


def test_a_title_that_takes_all_room_keeps_no_other_passage_out() -> None:
    found = [hit(TAXES, title="very " * 20_000), hit(EELS, id="p2"), hit(TROUT, id="p3")]

    given = fitted(found, 100)

    assert [(source.number, source.text) for source in given] == [(1, EELS), (2, TROUT)]


def test_nothing_found_fits_any_budget() -> None:
    assert fitted([], 10) == []


def test_what_can_never_fit_is_not_counted() -> None:
    budget = Budget(hits(*[long_text(40)] * 50), 100)

    assert sum(map(len, budget.texts())) < 2 * len(long_text(40))


def test_few_texts_are_counted() -> None:
    budget = Budget(hits(*["Ja. Nein. " * 400] * 10), 3_000)

    assert len(budget.texts()) < 250


def test_what_a_prompt_escapes_is_counted_as_it_is_written() -> None:
    budget = Budget([hit('<td>"x"</td>')], 100)

    assert budget.texts()[1] == r"\u003ctd>\"x\"\u003c/td>"


@pytest.mark.parametrize(
    ("text", "at_least"),
    [
        ("0123456789abcdef" * 60, 300),  # WordPiece: one unknown token
        ("ปลาไหล" * 50, 300),
        ("😀" * 300, 300),
        ("😀 " * 300, 250),
    ],
)
def test_text_that_an_embedding_model_does_not_know_counts(text: str, at_least: int) -> None:
    assert corrected([text], [1])[0] >= at_least


def test_text_that_an_embedding_model_knows_counts_as_it_counted() -> None:
    assert corrected([EELS, "東京" * 60], [17, 120]) == [17, 120]


def test_a_long_run_without_spaces_does_not_fit() -> None:
    found = hit("European eels spawn in the Sargasso Sea. " + "0123456789abcdef" * 3_750)
    budget = Budget([found], 3_000)

    (source,) = budget.fit(corrected(budget.texts(), [12] * len(budget.texts())))

    assert len(source.text) <= 3_000 * 4


def test_an_estimate_is_rather_too_high() -> None:
    assert estimated(["", "four", "Hà Nội", "東京"]) == [0, 2, 3, 2]
