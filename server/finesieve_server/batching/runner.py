"""Run batches on one device: what they cost, and one bad item kept from failing the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from finesieve_server.batching.cost import CostModel, Sample
from finesieve_server.batching.plan import Batch, BatchLimits
from finesieve_server.batching.work import Row
from finesieve_server.errors import ModelFailure
from finesieve_server.telemetry import Metrics

_log = structlog.get_logger()
# (rows, tokens): few and many, short and long. The best of some runs, as others disturb them.
_WARM_UP_SHAPES = ((1, 16), (4, 16), (1, 64), (4, 64), (1, 128), (4, 128), (1, 256))
_WARM_UP_RUNS = 3
# Lengths of the largest batches that are tried, the model's longest beside them.
_LARGEST_OF = (16, 128)


class Model(Protocol):
    """What a device runs; by several threads at once where several batches are in flight."""

    @property
    def max_tokens(self) -> int: ...

    def run(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        """Return one row a member."""
        ...

    def example(self, tokens: int) -> Any: ...


class Runner:
    """One device, with every model on it."""

    def __init__(
        self,
        models: Mapping[str, Model],
        metrics: Metrics,
        clock: Callable[[], float],
        in_flight: int = 1,
    ) -> None:
        self._models = models
        self._in_flight = in_flight
        self._metrics = metrics
        self._clock = clock
        self._last_end = 0.0

    def warm_up(self, name: str, limits: BatchLimits) -> list[Sample]:
        """Return what batches of a model take, the largest that the limits allow among them.

        Raises ModelFailure where the model cannot run one of them.
        """
        model = self._models[name]
        small = {(rows, min(tokens, model.max_tokens)) for rows, tokens in _WARM_UP_SHAPES}
        samples = [self._sample(name, *shape) for shape in sorted(small)]
        cost = CostModel(samples)
        longest = {min(tokens, model.max_tokens) for tokens in (*_LARGEST_OF, model.max_tokens)}
        large = {(_most_rows(cost, limits, tokens), tokens) for tokens in longest}
        return samples + [self._sample(name, *shape) for shape in sorted(large - small)]

    def run(
        self,
        batch: Batch,
        payloads: Sequence[Sized],
        cost: CostModel,
        is_wanted: Callable[[int], bool],
    ) -> list[Row]:
        """Return what came of each payload; None for one that nobody wanted in the end."""
        model = self._models[batch.model]
        started = self._clock()
        try:
            rows = _usable(model.run(payloads), len(payloads))
        except Exception:  # noqa: BLE001 - whatever a model does, the queue goes on
            _log.exception("batch failed", model=batch.model, items=len(payloads))
            # One item may have spoilt it for all: each gets its own chance.
            rows = [
                _alone(model, payload) if is_wanted(position) else None
                for position, payload in enumerate(payloads)
            ]
            self._last_end = self._clock()
            return rows
        self._learn(batch, started, cost)
        return rows

    def _learn(self, batch: Batch, started: float, cost: CostModel) -> None:
        """Count the batch's time, without the time that it stood behind another one in flight."""
        ended = self._clock()
        took_s = ended - max(started, self._last_end)
        self._last_end = ended
        padded_tokens = len(batch.items) * batch.longest
        cost.observe(Sample(len(batch.items), batch.longest, took_s))
        self._metrics.batch_seconds.labels(batch.model).observe(took_s)
        self._metrics.batch_tokens.labels(batch.model).observe(padded_tokens)
        self._metrics.tokens.labels(batch.model, "text").inc(batch.tokens)
        self._metrics.tokens.labels(batch.model, "padding").inc(padded_tokens - batch.tokens)

    def _sample(self, name: str, rows: int, tokens: int) -> Sample:
        try:
            return Sample(rows, tokens, min(self._time(self._models[name], rows, tokens)))
        except Exception as error:
            raise ModelFailure(
                f"model {name!r} cannot run {rows} rows of {tokens} tokens, "
                f"which the limits of a batch allow: {error}"
            ) from error

    def _time(self, model: Model, rows: int, tokens: int) -> Iterator[float]:
        batch = [model.example(tokens)] * rows
        # As many at once as there will be: what memory they need, they take now.
        with ThreadPoolExecutor(self._in_flight) as threads:
            for answer in threads.map(model.run, [batch] * self._in_flight):
                _usable(answer, rows)
        for _ in range(_WARM_UP_RUNS):
            started = self._clock()
            model.run(batch)
            yield self._clock() - started


def _most_rows(cost: CostModel, limits: BatchLimits, tokens: int) -> int:
    in_time = int((limits.max_s - cost.fixed_s) / cost.row_s(tokens))
    return max(1, min(in_time, limits.max_tokens // tokens))


def _usable(rows: NDArray[np.float32], count: int) -> list[Row]:
    if len(rows) != count:
        raise ModelFailure(f"the model gave {len(rows)} rows for {count} inputs")
    finite: NDArray[np.bool_] = np.isfinite(rows).reshape(count, -1).min(axis=1)
    return [
        row if ok else ModelFailure("the model gave a value that is not finite")
        for row, ok in zip(rows, finite, strict=True)
    ]


def _alone(model: Model, payload: Sized) -> Row:
    try:
        [row] = _usable(model.run([payload]), 1)
    except Exception:  # noqa: BLE001 - as above
        _log.exception("item failed", tokens=len(payload))
        return ModelFailure("the model failed on this input")
    return row
