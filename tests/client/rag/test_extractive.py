from finesieve_client.rag.citations import cited
from finesieve_client.rag.extractive import MAX_SENTENCES, extract
from tests.client.rag.found import EELS, TAXES, TROUT, hit, hits, sources


def test_the_sentence_that_says_most_of_the_question_is_quoted_with_its_source() -> None:
    given = sources(*hits(TAXES, EELS, TROUT))

    extracted = extract("Where do European eels spawn?", given)

    assert extracted.text.splitlines()[0] == "European eels spawn in the Sargasso Sea. [2]"
    first = extracted.citations[0]
    assert first.passage_id == "p2"
    assert EELS[slice(*first.span)] == first.quote == extracted.text[slice(*first.statement)]


def test_a_sentence_of_a_likelier_passage_comes_before_the_same_of_another() -> None:
    given = sources(
        hit(EELS, id="unlikely", probability=0.2), hit(EELS, id="likely", probability=0.9)
    )

    extracted = extract("Where do eels spawn?", given)

    assert [citation.passage_id for citation in extracted.citations] == ["likely"]


def test_sentences_of_the_chunk_that_won_count_more() -> None:
    text = (
        "Eels spawn at sea, or so they say. "
        + "Nothing here matters. " * 20
        + "Eels spawn in deep water."
    )
    start = text.rindex("Eels")

    extracted = extract("Where do eels spawn?", sources(hit(text, best=(start, len(text)))))

    assert extracted.text.startswith("Eels spawn in deep water. [1]")


def test_a_few_sentences_are_enough() -> None:
    given = sources(*hits(*[f"Eels spawn {at} times. Eels spawn." for at in range(9)]))

    assert len(extract("Do eels spawn?", given).citations) == MAX_SENTENCES


def test_without_a_shared_word_the_best_passage_speaks() -> None:
    given = sources(*hits(EELS, TROUT))

    assert extract("Anguilla?", given).text == "European eels spawn in the Sargasso Sea. [1]"


def test_brackets_of_a_quoted_text_cite_nothing() -> None:
    found = hits("Eels spawn here [2][1, 2].", TROUT)

    extracted = extract("Where do eels spawn?", sources(*found))

    assert extracted.text == "Eels spawn here (2)(1, 2). [1]"
    assert cited(extracted.text, found) == ["p1"]


def test_unscored_hits_count_by_their_rank() -> None:
    given = sources(
        hit("Eels spawn at sea.", id="a", probability=None),
        hit("Eels spawn at sea.", id="b", probability=None),
    )

    assert extract("Do eels spawn?", given).citations[0].passage_id == "a"
