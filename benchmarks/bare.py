"""The limit: a bare onnxruntime loop over pairs that were tokenized and sorted beforehand."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

from benchmarks.peers.peer import THREADS
from benchmarks.workload import RerankCall, frame_pairs
from finesieve_server.config import read_settings
from finesieve_server.model_setup import load_models
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed

BUDGETS = (128, 256, 512, 1024, 2048, 4096)
# Batches at a time, each on its share of the threads.
SIDE_BY_SIDE = sorted({1, THREADS})


@dataclass(frozen=True, slots=True)
class BareRound:
    """What the model did with one round's pairs."""

    pairs: int
    tokens: int
    shortest: int
    longest: int
    seconds: float
    cpu_share: float

    @property
    def pairs_per_s(self) -> float:
        return self.pairs / self.seconds


class BareLoop:
    """The server's own model and session, and nothing of the server."""

    def __init__(self, models: str, sample: Sequence[RerankCall]) -> None:
        """Take what is best for calls like the sample's: how many tokens a batch, and batches at a
        time, each with its share of the threads.

        `tried_s` keeps the seconds that the sample took, by (tokens a batch, batches at a time).
        """
        self._models = {number: _load(models, THREADS // number) for number in SIDE_BY_SIDE}
        self._model = self._models[1]
        self.tried_s: dict[tuple[int, int], float] = {}
        for self.budget, self.side_by_side in product(BUDGETS, SIDE_BY_SIDE):
            tried = self.budget, self.side_by_side
            self.tried_s[tried] = min(self.run(sample).seconds for _ in range(2))
        self.budget, self.side_by_side = min(self.tried_s, key=lambda tried: self.tried_s[tried])

    def run(self, calls: Sequence[RerankCall]) -> BareRound:
        """Score all pairs of these calls, shortest first over everything."""
        framed = sorted((pair for call in calls for pair in self._frame(call)), key=len)
        model = self._models[self.side_by_side]
        with ThreadPoolExecutor(self.side_by_side) as threads:
            started, cpu_s = time.perf_counter(), time.process_time()
            list(threads.map(model.run, packed(framed, self.budget)))
            seconds = time.perf_counter() - started
        return BareRound(
            pairs=len(framed),
            tokens=sum(map(len, framed)),
            shortest=len(framed[0]),
            longest=len(framed[-1]),
            seconds=seconds,
            cpu_share=(time.process_time() - cpu_s) / seconds / THREADS,
        )

    def alone_s(self, call: RerankCall) -> float:
        """Return what the model takes for one call's pairs, run as one batch on all threads."""
        framed = self._frame(call)
        started = time.perf_counter()
        self._model.run(framed)
        return time.perf_counter() - started

    def scores(self, call: RerankCall) -> list[float]:
        scores: list[float] = self._model.run(self._frame(call)).tolist()
        return scores

    def _frame(self, call: RerankCall) -> list[Framed]:
        return frame_pairs(self._model, call.query, call.texts)


def _load(models: str, threads: int) -> CrossEncoder:
    settings = read_settings(["--models", models, "--batch-threads", str(threads)])
    loaded = load_models(settings).models[0]
    return next(each for each in loaded if isinstance(each, CrossEncoder))


def packed(framed: Sequence[Framed], budget: int) -> Iterator[Sequence[Framed]]:
    """Cut sorted pairs into batches of at most `budget` tokens, padding included."""
    start = 0
    for end in range(1, len(framed) + 1):
        if end == len(framed) or len(framed[end]) * (end + 1 - start) > budget:
            yield framed[start:end]
            start = end
