"""The limit: a bare onnxruntime loop over pairs that were tokenized and sorted beforehand."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.peers.peer import THREADS
from benchmarks.workload import RerankCall, frame_pairs
from finesieve_server.app import load_models
from finesieve_server.config import read_settings
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed

BUDGETS = (256, 512, 1024, 2048, 4096, 8192)


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
    """The server's own model, session and thread settings, and nothing of the server."""

    def __init__(self, models: str, sample: Sequence[RerankCall]) -> None:
        """Take the best token budget for calls like the sample's."""
        loaded = load_models(read_settings(["--models", models])).models[0]
        self._model = next(each for each in loaded if isinstance(each, CrossEncoder))
        seconds = {}
        for self.budget in BUDGETS:
            seconds[self.budget] = min(self.run(sample).seconds for _ in range(2))
        self.budget = min(seconds, key=lambda budget: seconds[budget])

    def run(self, calls: Sequence[RerankCall]) -> BareRound:
        """Score all pairs of these calls, shortest first over everything."""
        framed = sorted((pair for call in calls for pair in self._frame(call)), key=len)
        started, cpu_s = time.perf_counter(), time.process_time()
        for batch in packed(framed, self.budget):
            self._model.run(batch)
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
        """Return what the model takes for one call's pairs, run as one batch."""
        framed = self._frame(call)
        started = time.perf_counter()
        self._model.run(framed)
        return time.perf_counter() - started

    def scores(self, call: RerankCall) -> list[float]:
        scores: list[float] = self._model.run(self._frame(call)).tolist()
        return scores

    def _frame(self, call: RerankCall) -> list[Framed]:
        return frame_pairs(self._model, call.query, call.texts)


def packed(framed: Sequence[Framed], budget: int) -> Iterator[Sequence[Framed]]:
    """Cut sorted pairs into batches of at most `budget` tokens, padding included."""
    start = 0
    for end in range(1, len(framed) + 1):
        if end == len(framed) or len(framed[end]) * (end + 1 - start) > budget:
            yield framed[start:end]
            start = end
