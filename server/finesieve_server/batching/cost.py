"""Predict how long a batch takes. No clock, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Weight of the newest batch in the running correction: some twenty batches to follow a change.
_NEWEST = 0.1
# One batch counts as at most this much slower than predicted: the process may have been stopped.
_SLOWEST = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One batch that ran: its rows, the tokens that each was padded to, its seconds."""

    rows: int
    tokens: int
    seconds: float


class CostModel:
    """A batch costs a fixed part, and for every row what its padded length costs.

    A row costs a share for each token and one for each pair of them (attention). The three numbers
    are fitted once, at warm-up; from then on every batch moves one correction of the whole, so that
    uniform traffic cannot unlearn the shape.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        """Fit samples of at least three shapes, all errors counted relative to their size."""
        seconds = np.array([each.seconds for each in samples])
        features = np.array(
            [(1, each.rows * each.tokens, each.rows * each.tokens**2) for each in samples],
            np.float64,
        )
        weighted = features / seconds[:, None]
        shares = np.zeros(3)
        for used in ([0, 1, 2], [0, 1], [1]):  # noise may call for less than nothing of a part
            shares[:] = 0
            shares[used] = np.linalg.lstsq(weighted[:, used], np.ones(len(samples)))[0]
            if (shares >= 0).all():
                break
        # Starting a batch is never free: an eighth of the smallest one was measured at the least.
        self._fixed_s = max(float(shares[0]), float(seconds.min()) / 8)
        self._token_s, self._square_s = float(shares[1]), float(shares[2])
        self._correction = 1.0

    @property
    def fixed_s(self) -> float:
        """Seconds that one more batch costs, whatever is in it."""
        return self._fixed_s * self._correction

    def row_s(self, tokens: int) -> float:
        """Seconds that one more row of that padded length costs in a batch that runs anyway."""
        return (self._token_s * tokens + self._square_s * tokens**2) * self._correction

    def least_row_s(self, tokens: int) -> float:
        """Seconds that such a row takes on an idle device, which a slow hour must not raise.

        What is refused never runs, so a refusal by a stale correction would correct nothing.
        """
        return self.row_s(tokens) / max(1.0, self._correction)

    def batch_s(self, rows: int, tokens: int) -> float:
        """Seconds of a batch of rows padded to that length."""
        return self.fixed_s + rows * self.row_s(tokens)

    def observe(self, batch: Sample) -> None:
        """Learn from a batch that ran."""
        ratio = min(batch.seconds / self.batch_s(batch.rows, batch.tokens), _SLOWEST)
        self._correction *= 1 + _NEWEST * (ratio - 1)
