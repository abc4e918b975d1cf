"""Make a million passages of real texts: the same ones for the same seed, few of them or many.

The first ones are real: the embedding of a real sentence, the sentence, and others behind it up to
ninety words. Beyond, embeddings are real ones that were moved along the difference of two others
and renormalised: a step of the data's own kind, where plain noise makes any graph look broken.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from benchmarks.workload import read_rows

Matrix = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Matrix]  # (texts, dimension)

REAL = 100_000  # passages whose embeddings are real; the others are made from these
WORDS = 90  # of a passage
STEP = 0.45  # how far others are moved, in distances between two random passages
CHUNK = 10_000  # passages of one seed of their own, so that few are the first of many

_END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Questions:
    """Real questions and their embeddings, (questions, dimension)."""

    texts: Sequence[str]
    vectors: Matrix


class Corpus:
    """Passages by number: vectors[n] and text(n) belong together."""

    def __init__(self, data: Path, passages: int, seed: int, cache: Path, embed: Embed) -> None:
        """Take texts from every set under `data`; `cache` keeps vectors, made once."""
        self._seed = seed
        self._sentences = _sentences(data, seed)
        real = min(REAL, passages, len(self._sentences))
        questions = _questions(data, seed)
        self.questions = Questions(questions, embed(questions))
        self.real = embed(self._sentences[:real])
        self.vectors = self._vectors(passages, cache)
        # Which share of the passages a filter takes is known, and has nothing to do with meaning.
        self.ranks = np.random.default_rng(seed).permutation(passages)

    def __len__(self) -> int:
        return len(self.vectors)

    def texts(self, start: int, stop: int) -> Iterator[str]:
        """Give the texts of some passages, which begin where a chunk does."""
        for first in range(start, stop, CHUNK):
            chance = random.Random(f"{self._seed} {first}")
            for number in range(first, min(first + CHUNK, stop)):
                words = self._sentences[number % len(self.real)].split()
                while len(words) < WORDS:
                    words += chance.choice(self._sentences).split()
                yield " ".join(words[:WORDS])

    @property
    def digest(self) -> str:
        """Return what all passages follow from."""
        return hashlib.sha256(self.real.tobytes() + f"{self._seed}".encode()).hexdigest()[:16]

    def _vectors(self, passages: int, cache: Path) -> Matrix:
        """Return what an earlier run made, or make it."""
        path = cache / f"vectors-{self.digest}-{passages}.npy"
        if not path.exists():
            new = path.with_suffix(".new")
            vectors = open_memmap(new, "w+", np.float32, (passages, self.real.shape[1]))
            for first in range(0, passages, CHUNK):
                vectors[first : first + CHUNK] = self._chunk(first)[: passages - first]
            vectors.flush()
            new.rename(path)
        return np.asarray(np.load(path, mmap_mode="r"))

    def _chunk(self, first: int) -> Matrix:
        numbers = np.arange(first, first + CHUNK)
        start = self.real[numbers % len(self.real)]
        chance = np.random.default_rng([self._seed, first])
        one, other = (self.real[chance.integers(0, len(self.real), CHUNK)] for _ in range(2))
        moved = start + np.float32(STEP) * (one - other)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        return np.where((numbers < len(self.real))[:, None], start, moved)


def _sentences(data: Path, seed: int) -> list[str]:
    texts = (row["text"] for folder in _sets(data) for row in read_rows(folder, "corpus"))
    sentences = (each for text in texts for each in _END_OF_SENTENCE.split(text))
    distinct = sorted({each for each in sentences if 5 <= len(each.split()) <= WORDS})
    random.Random(seed).shuffle(distinct)
    return distinct


def _questions(data: Path, seed: int) -> list[str]:
    rows = (row for folder in _sets(data) for row in read_rows(folder, "queries"))
    distinct = sorted({row["text"] for row in rows})
    random.Random(seed).shuffle(distinct)
    return distinct


def _sets(data: Path) -> list[Path]:
    """Return the folders in BEIR's layout: those within `data`, or itself."""
    found = sorted({path.parent for path in data.glob("**/corpus.jsonl*")})
    if not found:
        raise SystemExit(f"{data}: no set in BEIR's layout (corpus.jsonl.gz, queries.jsonl.gz)")
    return found
