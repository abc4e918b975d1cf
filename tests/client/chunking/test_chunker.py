import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from finesieve.v1.passages_pb2 import Passage
from finesieve_client import metadata_of
from finesieve_client.chunking import (
    Block,
    ChunkOptions,
    Format,
    Source,
    UnreadableFile,
    chunk,
    chunk_file,
    chunk_text,
    estimate_tokens,
)

MODEL = Path(__file__).parents[3] / "models" / "all-minilm-l6-v2"
WORDS = (
    *("eels", "swim,", "far.", "The", "sea", "(is)", "wide!", "Où?", "今日は。", "naïve", "e.g."),
    *("3.14", "x=1;", "https://a.b/c?d", "TP.", "👩‍👩‍👧", "ế"),
)


def words(texts: Sequence[str]) -> list[str]:
    return "".join(texts).split()


def leaves(passages: Sequence[Passage]) -> list[Passage]:
    return [each for each in passages if not each.context_only]


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


@pytest.fixture(scope="module")
def count_tokens() -> Callable[[Sequence[str]], list[int]]:
    """Return what counts exactly as the bundled bi-encoder does."""
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [
        len(each.ids) for each in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]


def some_text(chance: random.Random, num_words: int) -> str:
    """Return words of many kinds between spaces, line ends and blank lines."""
    return "".join(
        chance.choice(WORDS) + chance.choices([" ", "\n", "\n\n"], [20, 2, 1])[0]
        for _ in range(num_words)
    )


def test_a_short_text_is_one_passage_that_knows_its_place() -> None:
    (only,) = chunk_text("  Eels migrate. Far.\n", "eels.txt", title="Eels")

    assert only.id == "eels.txt#0"
    assert (only.document_id, only.ordinal, only.title) == ("eels.txt", 0, "Eels")
    assert only.text == "Eels migrate. Far."
    assert metadata_of(only) == {"start": 2, "end": 20}
    assert only.parent_id == ""


def test_passages_are_numbered_in_order_and_are_what_their_span_says() -> None:
    text = "One sentence of six words here. " * 100

    passages = chunk_text(text, "d", options=ChunkOptions(size=32, overlap=0))

    assert [each.ordinal for each in passages] == list(range(len(passages)))
    assert [each.id for each in passages] == [f"d#{at}" for at in range(len(passages))]
    for each in passages:
        place = metadata_of(each)
        assert text[place["start"] : place["end"]] == each.text
    assert words([f"{each.text} " for each in passages]) == text.split()


def test_a_passage_repeats_whole_sentences_of_the_one_before() -> None:
    text = " ".join(f"Number {at} has five words." for at in range(40))
    options = ChunkOptions(size=32, overlap=6, count_tokens=count_words, added_tokens=0)

    passages = chunk_text(text, "d", options=options)

    for before, after in pairwise(passages):
        assert before.text.endswith(after.text.partition(". ")[0] + ".")


@pytest.mark.parametrize("overlap", [0, 16])
def test_no_text_is_lost_none_is_too_long_and_order_holds(
    overlap: int,
    count_tokens: Callable[[Sequence[str]], list[int]],
    repetitions: Callable[[int, int], int],
) -> None:
    options = ChunkOptions(64, overlap, count_tokens=count_tokens)
    for seed in range(repetitions(40, 4_000)):
        chance = random.Random(seed)
        text = some_text(chance, chance.randint(1, 600)) + "z" * chance.choice([0, 0, 5_000])

        passages = chunk_text(text, "d", title="A title of some words", options=options)

        spans = [(metadata_of(each)["start"], metadata_of(each)["end"]) for each in passages]
        ends = [end for _, end in spans]
        covered = "".join(
            text[max(start, before_end) : end]
            for (start, end), before_end in zip(spans, [0, *ends[:-1]], strict=True)
        )
        assert "".join(covered.split()) == "".join(text.split()), seed
        assert spans == sorted(spans), seed
        for passage, tokens in zip(
            passages, count_tokens([f"{each.title} {each.text}" for each in passages]), strict=True
        ):
            assert tokens + options.added_tokens <= options.size, (seed, passage)
        for before, after in pairwise(spans):
            if shared := text[after[0] : before[1]].strip():
                assert sum(count_tokens([shared])) <= overlap, seed


def test_a_word_longer_than_a_passage_is_cut_between_characters() -> None:
    family = "👩‍👩‍👧‍👦"
    options = ChunkOptions(size=32, overlap=0, count_tokens=lambda texts: [*map(len, texts)])

    passages = chunk_text(family * 40, "d", options=options)

    assert "".join(each.text for each in passages) == family * 40
    assert all(len(each.text) % len(family) == 0 for each in passages)


def test_an_unknown_word_of_one_token_does_not_grow_beyond_a_request() -> None:
    options = ChunkOptions(size=4_096, overlap=0, count_tokens=lambda texts: [1] * len(texts))

    passages = chunk_text("x" * 200_000, "d", options=options)

    assert max(len(each.text) for each in passages) <= 65_536


@pytest.fixture
def tree() -> list[Passage]:
    text = " ".join(f"Number {at} has five words." for at in range(400))
    options = ChunkOptions(32, 0, parents=True, count_tokens=count_words, added_tokens=0)
    return chunk_text(text, "d", options=options)


def test_leaves_hang_under_two_levels_of_parents(tree: list[Passage]) -> None:
    by_id = {each.id: each for each in tree}

    for leaf in leaves(tree):
        parent = by_id[leaf.parent_id]
        grandparent = by_id[parent.parent_id]
        assert leaf.text in parent.text
        assert parent.text in grandparent.text
        assert (parent.context_only, grandparent.context_only) == (True, True)
        assert (metadata_of(parent)["level"], metadata_of(grandparent)["level"]) == (1, 2)
        assert grandparent.parent_id == ""
        assert len(parent.text.split()) <= 4 * 32
        assert len(grandparent.text.split()) <= 16 * 32


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_level_holds_the_whole_text_in_order(tree: list[Passage], level: int) -> None:
    of_level = [each for each in tree if metadata_of(each).get("level", 0) == level]

    assert [each.ordinal for each in of_level] == list(range(len(of_level)))
    expected = [word for at in range(400) for word in f"Number {at} has five words.".split()]
    assert words([f"{each.text} " for each in of_level]) == expected


def test_a_parent_has_more_than_one_child(tree: list[Passage]) -> None:
    for parent in tree:
        children = [each for each in tree if each.parent_id == parent.id]
        assert len(children) != 1
        assert bool(children) == parent.context_only


def test_a_short_document_has_no_parents() -> None:
    (only,) = chunk_text("Short.", "d", options=ChunkOptions(parents=True, size=128, overlap=0))

    assert not only.context_only
    assert only.parent_id == ""


def test_the_title_has_the_headings_that_are_common_to_a_passage() -> None:
    text = (
        "# Guide\n\n## Install\n\n"
        + "Some words here. " * 60
        + "\n### On Linux\n\n"
        + "More. " * 90
    )

    passages = chunk_text(
        text, "d", format=Format.MARKDOWN, options=ChunkOptions(size=64, overlap=0)
    )

    titles = [each.title for each in passages]
    assert titles[0] == "Guide"  # its own heading and the first section's beginning
    assert set(titles[1:]) == {"Guide › Install", "Guide › Install › On Linux"}
    assert metadata_of(passages[-1])["section"] == "Install › On Linux"


def test_a_title_longer_than_its_share_loses_its_outer_parts() -> None:
    text = "# " + "Very " * 20 + "long\n\n## Part\n\n" + "Words. " * 100

    passages = chunk_text(
        text, "d", format=Format.MARKDOWN, options=ChunkOptions(size=64, overlap=0)
    )

    assert passages[-1].title == "Part"


def test_pages_are_those_that_the_span_lies_on() -> None:
    text = "First page. " * 10 + "Second page. " * 10
    source = Source(text, (Block(0, len(text)),), pages=(0, 120))

    passages = chunk(source, "d", options=ChunkOptions(size=32, overlap=0))

    for each in passages:
        place = metadata_of(each)
        assert place["page"] == bisect_right((0, 120), place["start"])
        assert place["last_page"] == (2 if place["end"] > 120 else 1)
    assert {metadata_of(each)["page"] for each in passages} == {1, 2}


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000"])
def test_a_text_of_nothing_has_no_passages(text: str) -> None:
    with pytest.raises(UnreadableFile, match="has no text"):
        chunk_text(text, "d")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": 31}, "size is 31; allowed 32..4096"),
        ({"size": 4_097}, "size is 4097; allowed 32..4096"),
        ({"size": 257, "parents": True}, "size is 257; allowed 32..256"),
        ({"overlap": -1}, "overlap is -1; allowed 0..128, half of the size"),
        ({"overlap": 129}, "overlap is 129; allowed 0..128, half of the size"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ChunkOptions(**options)  # type: ignore[arg-type]


def test_a_files_name_is_its_title_where_it_has_no_other(tmp_path: Path) -> None:
    path = tmp_path / "eel guide.txt"
    path.write_text("Eels.", encoding="utf-8")

    (only,) = chunk_file(path, "guide")

    assert (only.title, only.document_id) == ("eel guide", "guide")


def test_the_estimate_is_near_the_bundled_models_count(
    count_tokens: Callable[[Sequence[str]], list[int]],
) -> None:
    readme = (MODEL.parents[1] / "README.md").read_text(encoding="utf-8")

    (estimated,), (counted,) = estimate_tokens([readme]), count_tokens([readme])

    assert 0.8 * counted <= estimated <= 1.25 * counted
