import random
import time

import pytest

from finesieve_client import cited
from finesieve_client.rag.citations import CitationReader, citations_of
from tests.client.rag.found import EELS, TAXES, TROUT, hit, hits, sources


def read(answer: str, num_passages: int = 3) -> tuple[str, list[int]]:
    reader = CitationReader(num_passages)
    text = reader.take(answer) + reader.end()
    for mark in reader.marks:
        start, end = mark.span
        assert str(mark.number) in text[start:end]
    return text, [mark.number for mark in reader.marks]


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ("Eels [1] and trout [2].", ["p1", "p2"]),
        ("[2][1][2]", ["p2", "p1"]),
        ("[1, 2]", ["p1", "p2"]),
        ("[ 2 ,1 ]", ["p2", "p1"]),
        ("[1\n,\t2]", ["p1", "p2"]),
        ("[1\u00a0,2] [\u30001] [1\x85]", []),
        ("[0] [3] [00001] [99999999999999999999]", []),
        ("[01] [-1] [1.5] [one] (1) 1] [1", ["p1"]),
        ("", []),
    ],
)
def test_the_passages_that_an_answer_cites(answer: str, ids: list[str]) -> None:
    assert cited(answer, hits(EELS, TROUT)) == ids


@pytest.mark.parametrize(
    ("answer", "text", "numbers"),
    [
        ("At sea [1].", "At sea [1].", [1]),
        ("At sea [1][3], so [2].", "At sea [1][3], so [2].", [1, 3, 2]),
        ("At sea [1, 3].", "At sea [1, 3].", [1, 3]),
        ("At sea [1\u00a0].", "At sea [1\u00a0].", []),
        ("Forged [4].", "Forged.", []),
        ("Forged[0][99999999].", "Forged.", []),
        ("Half forged [2, 7].", "Half forged [2].", [2]),
        ("[9] First\n [9]", " First\n", []),
        ("`argv[4]` is code [1].", "`argv[4]` is code [1].", [1]),
        ("```\na[1]\nb[9]\n```\nSo [2].", "```\na[1]\nb[9]\n```\nSo [2].", [2]),
        ("``a`[1]`` [1]", "``a`[1]`` [1]", [1]),
        ("A lone ` is closed\nby its line [1] [9].", "A lone ` is closed\nby its line [1].", [1]),
        ("a [link](x) [^1] [x1] [1-2]", "a [link](x) [^1] [x1] [1-2]", []),
        ("unfinished [1", "unfinished [1", []),
        ("blanks  ", "blanks  ", []),
        ("[[9]9] [[9]99]", "[…9] […99]", []),
        ("x [9[9]]", "x [9…]", []),
        ("See [[9] 2] and [1 [9]].", "See [… 2] and [1…].", []),
        ("[[9][9]9][1]", "[…9][1]", [1]),
        ("`a`[9]`b [9]` [2]", "`a`…`b [9]` [2]", [2]),
        ("The ` key [9], [2].", "The ` key, [2].", [2]),
        ("Eels ``` swim.\nTrue [9]. Real [1].", "Eels ``` swim.\nTrue. Real [1].", [1]),
        ("```\nx[9]\n````\nTrue [9] [1]", "```\nx[9]\n````\nTrue [1]", [1]),
        ("````\nx[9]\n```\ny[9]\n````\n[1]", "````\nx[9]\n```\ny[9]\n````\n[1]", [1]),
        ("```x[9]``` True [9]", "```x[9]``` True", []),
        ("- ```py\n  x[9]\n  ```\n  [9]", "- ```py\n  x[9]\n  ```\n", []),
        ("`" + "a" * 300 + " [9]`", "`" + "a" * 300 + "`", []),
        ("x ``a [1][9\n]`` [2\n]", "x ``a [1]\n`` [2]\n", [1, 2]),
        ("`a` [9] and [2]", "`a` and [2]", [2]),
    ],
)
def test_an_answer_cites_only_what_was_given(answer: str, text: str, numbers: list[int]) -> None:
    assert read(answer) == (text, numbers)


def test_how_an_answer_is_cut_into_pieces_makes_no_difference() -> None:
    answer = (
        "Eels spawn in the Sargasso Sea [1], [ 2 ,9] says `x[7]` and ``y`[8]`` [7][3].\n"
        "```\nz[9]\n```\n[4] End [1, 2]  [5"
    )
    whole = CitationReader(3)
    expected = whole.take(answer) + whole.end()
    for seed in range(200):
        random_ = random.Random(seed)
        cuts = sorted(random_.sample(range(1, len(answer)), random_.randint(1, 30)))
        reader = CitationReader(3)

        pieces = [
            reader.take(answer[a:b]) for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)
        ]

        assert "".join(pieces) + reader.end() == expected
        assert reader.marks == whole.marks


MUCH = (
    "[",
    "]",
    "1",
    "9",
    ",",
    " ",
    "`",
    "\n",
    "a",
    "[1]",
    "[9]",
    "[[9]",
    "```",
    "^",
    "````",
    "``",
    "\n```",
)


def test_reading_what_was_read_changes_nothing() -> None:
    for seed in range(20_000):
        random_ = random.Random(seed)
        answer = "".join(random_.choices(MUCH, k=random_.randint(1, 25)))
        pieces = CitationReader(3)

        text, numbers = read(answer)

        assert "".join(map(pieces.take, answer)) + pieces.end() == text, answer
        assert read(text) == (text, numbers), answer


@pytest.mark.parametrize("repeated", [" ", "`", "\t", "[", " [", "[ ", "[1,", "[" + " " * 99])
def test_a_model_that_repeats_itself_is_read_in_no_time_and_keeps_nobody_waiting(
    repeated: str,
) -> None:
    answer = f"[{repeated * 50_000}"[:50_000]
    reader = CitationReader(3)
    waiting = 0
    began_s = time.perf_counter()

    written = []
    for at, piece in enumerate(answer, start=1):
        written.append(reader.take(piece))
        waiting = max(waiting, at - sum(map(len, written)) if at % 1_000 == 0 else 0)

    assert time.perf_counter() - began_s < 5
    assert waiting <= 400
    assert "".join(written) + reader.end() == read(answer)[0]


def test_text_is_not_held_back_longer_than_it_could_become_a_marker() -> None:
    reader = CitationReader(3)

    assert reader.take("Eels") == "Eels"
    assert reader.take(" spawn [") == " spawn"
    assert reader.take("1") == ""
    assert reader.take("]") == " [1]"
    assert reader.take(" [x") == " [x"
    assert reader.take("[" + "1" * 200) == "[" + "1" * 200


def test_a_citation_points_at_the_sentence_that_supports_its_statement() -> None:
    given = sources(hit(EELS, id="eels", title="Eels"), hit(TROUT, id="trout"))
    answer = "It is known. Eel larvae drift for two years [1], and trout bury eggs. [2][1] Done."
    reader = CitationReader(2)
    assert reader.take(answer) + reader.end() == answer

    citations = citations_of(answer, reader.marks, given)

    assert [citation.number for citation in citations] == [1, 2, 1]
    assert [citation.quote for citation in citations[:2]] == [
        "Their larvae drift back for two years.",
        "They bury their eggs in gravel.",
    ]
    assert [answer[slice(*citation.statement)] for citation in citations] == [
        "Eel larvae drift for two years",
        "and trout bury eggs.",
        "and trout bury eggs.",
    ]
    first = citations[0]
    assert (first.passage_id, first.title, first.document_id) == ("eels", "Eels", "eels.md")
    assert EELS[slice(*first.span)] == first.quote


def test_a_marker_before_its_statement_supports_what_follows() -> None:
    answer = "[1] Eels spawn at sea. More."
    reader = CitationReader(1)
    text = reader.take(answer) + reader.end()

    (citation,) = citations_of(text, reader.marks, sources(hit(EELS)))

    assert text[slice(*citation.statement)] == "Eels spawn at sea."
    assert citation.quote == "European eels spawn in the Sargasso Sea."


def test_without_a_shared_word_the_chunk_that_won_is_cited() -> None:
    start = EELS.index("Their")
    given = sources(hit(EELS, best=(start, len(EELS))), hit(TAXES))
    reader = CitationReader(2)
    text = reader.take("Quite so [1]. Yes [2]") + reader.end()

    citations = citations_of(text, reader.marks, given)

    assert citations[0].span == (start, len(EELS))
    assert citations[1].span == (0, len(TAXES))


def test_a_citation_of_a_window_names_the_passage_that_says_it() -> None:
    given = sources(hit(TAXES, id="mid", before=[TROUT], after=[EELS]))
    reader = CitationReader(1)
    text = reader.take("Eels spawn in the Sargasso Sea [1].") + reader.end()

    (citation,) = citations_of(text, reader.marks, given)

    assert citation.number == 1
    assert citation.passage_id == "mid-after0"
    assert EELS[slice(*citation.span)] == "European eels spawn in the Sargasso Sea."


def test_many_marks_of_one_statement_are_looked_up_once() -> None:
    given = sources(*hits(*[EELS * 100] * 3))
    answer = "Eels spawn" + "[1]" * 20_000
    reader = CitationReader(3)
    text = reader.take(answer) + reader.end()
    began_s = time.perf_counter()

    assert len(citations_of(text, reader.marks, given)) == 20_000
    assert time.perf_counter() - began_s < 3
