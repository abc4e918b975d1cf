"""The corpus of bench-retrieval is the same one whoever makes it, and real at its beginning."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.retrieval.corpus import WORDS, Corpus
from benchmarks.retrieval.results import Curve

SENTENCES = [
    f"The {colour} {animal} sleeps under the old bridge."
    for colour in ("red", "blue", "green", "grey")
    for animal in ("fox", "owl", "hare", "mole")
]


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return a vector of length one that depends on the text alone."""
    rows = [np.random.default_rng(list(text.encode())).standard_normal(8) for text in texts]
    return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "sets" / "animals"
    folder.mkdir(parents=True)
    rows = [{"_id": str(at), "text": " ".join(SENTENCES[at : at + 4])} for at in range(0, 16, 4)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "who sleeps?"}))
    return tmp_path / "sets"


def test_a_smaller_corpus_is_the_beginning_of_a_larger_one(data: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    small = Corpus(data, 20, 0, tmp_path / "one", embed)
    large = Corpus(data, 50, 0, tmp_path / "other", embed)

    np.testing.assert_array_equal(small.vectors, large.vectors[:20])
    assert list(small.texts(0, 20)) == list(large.texts(0, 50))[:20]


def test_passages_are_of_ninety_words_and_unit_length(data: Path, tmp_path: Path) -> None:
    corpus = Corpus(data, 50, 0, tmp_path, embed)

    assert {len(text.split()) for text in corpus.texts(0, 50)} == {WORDS}
    np.testing.assert_allclose(np.linalg.norm(corpus.vectors, axis=1), 1, atol=1e-5)


def test_the_first_passages_are_the_real_ones(data: Path, tmp_path: Path) -> None:
    corpus = Corpus(data, 50, 0, tmp_path, embed)

    assert len(corpus.real) == len(SENTENCES)
    np.testing.assert_array_equal(corpus.vectors[: len(SENTENCES)], corpus.real)
    assert not np.array_equal(corpus.vectors[len(SENTENCES)], corpus.real[0])


def test_a_second_run_reads_what_the_first_one_made(data: Path, tmp_path: Path) -> None:
    first = Corpus(data, 50, 0, tmp_path, embed)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}

    second = Corpus(data, 50, 0, tmp_path, embed)

    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.digest == second.digest


def test_a_curve_knows_its_recall_at_an_ef() -> None:
    curve = Curve()
    curve.add(16, 0.9, 100.0)
    curve.add(64, 0.99, 50.0)

    assert curve.recall_at(64) == 0.99
