"""Make rerank calls of mixed, real lengths from a folder in BEIR's layout, or from the demo's
corpus."""

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.stdlib_corpus import read_corpus
from finesieve.v1.rerank_pb2 import Document, RerankRequest
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed
from finesieve_server.search.pairs import LongPassage, PairMaker
from finesieve_server.search.texts import full_text

SHORT_SHARE = 0.25  # the shortest quarter of the passages counts as short


@dataclass(frozen=True, slots=True)
class RerankCall:
    """One query and the passages to be ordered for it, (title, text) each."""

    query: str
    documents: list[tuple[str, str]]

    @property
    def texts(self) -> list[str]:
        """Each passage as a model reads it, for engines that know no titles."""
        return [full_text(title, text) for title, text in self.documents]

    def to_request(self) -> RerankRequest:
        return RerankRequest(
            query=self.query,
            documents=[Document(title=title, text=text) for title, text in self.documents],
        )


class Workload:
    """Calls drawn at random, none like one before; the same ones again for the same seed."""

    def __init__(self, folder: Path | None, seed: int = 0) -> None:
        self._queries, self._passages = _read_folder(folder) if folder else _read_demo()
        self._chance = random.Random(seed)

    def calls(self, count: int, documents: int) -> list[RerankCall]:
        return self._draw(self._passages, count, documents)

    def short_calls(self, count: int, documents: int) -> list[RerankCall]:
        """Return calls whose documents are of the corpus's shortest."""
        shortest = sorted(self._passages, key=lambda passage: len(passage[1]))
        return self._draw(shortest[: int(len(shortest) * SHORT_SHARE)], count, documents)

    def _draw(
        self, passages: Sequence[tuple[str, str]], count: int, documents: int
    ) -> list[RerankCall]:
        return [
            RerankCall(self._chance.choice(self._queries), self._chance.sample(passages, documents))
            for _ in range(count)
        ]


def rerank_calls(
    folder: Path | None, count: int, documents: int, seed: int = 0
) -> list[RerankCall]:
    """Return `count` calls of `documents` random passages, the same ones for the same seed."""
    return Workload(folder, seed).calls(count, documents)


def rerank_messages(folder: Path | None, count: int, documents: int, seed: int) -> list[bytes]:
    """Return the requests of such calls, as they travel."""
    calls = rerank_calls(folder, count, documents, seed)
    return [call.to_request().SerializeToString() for call in calls]


def _read_demo() -> tuple[list[str], list[tuple[str, str]]]:
    passages = [(row.title, row.text) for row in read_corpus()]
    # A docstring's first sentence, without its answer, is about what somebody would ask.
    queries = [text.split(".")[0][:100] for _, text in passages if len(text) > 200]
    return [each for each in queries if each.strip()], passages  # one begins with a full stop


def _read_folder(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    queries = [row["text"] for row in read_rows(folder, "queries")]
    passages = [(row.get("title", ""), row["text"]) for row in read_rows(folder, "corpus")]
    return queries, [each for each in passages if each[1].strip()]


def frame_pairs(model: CrossEncoder, query: str, passages: Sequence[str]) -> list[Framed]:
    """Return the pairs of one query as the server frames them, passages cut at the window."""
    query_ids, *encoded = model.tokenizer.encode([query, *passages])
    maker = PairMaker(
        model,
        query_ids,
        long_passage=LongPassage.TRUNCATE,
        max_passage_tokens=0,
        max_chunks=1,
    )
    return [framed for each in encoded for framed in maker.whole(each).framed]


def read_rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of name.jsonl or name.jsonl.gz."""
    packed = folder / f"{name}.jsonl.gz"
    if packed.exists():
        with gzip.open(packed, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)
    else:
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
