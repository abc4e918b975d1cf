"""Predict how long a batch takes. No clock, no I/O."""

from collections.abc import Sequence

import numpy as np

# Weight of the newest batch in the running correction: some twenty batches to follow a change.
_NEWEST = 0.1


class CostModel:
    """Seconds as a function of padded tokens: (fixed + per token) * a correction kept current.

    The line is fitted once, at warm-up, from batches of known sizes; from then on every batch moves
    the correction alone, so that uniform traffic cannot unlearn the line.
    """

    def __init__(self, samples: Sequence[tuple[int, float]]) -> None:
        """Fit (padded tokens, seconds) samples of at least two sizes."""
        tokens, seconds = np.array(samples, np.float64).T
        per_token, fixed = np.polyfit(tokens, seconds, 1)
        if fixed < 0 or per_token <= 0:
            fixed, per_token = 0.0, float(seconds.sum() / tokens.sum())
        self._fixed_s = float(fixed)
        self._per_token_s = float(per_token)
        self._correction = 1.0

    @property
    def per_token_s(self) -> float:
        """Seconds that one more token costs in a batch that runs anyway."""
        return self._per_token_s * self._correction

    @property
    def tokens_worth_a_batch(self) -> float:
        """Tokens that cost as much as starting one more batch."""
        return self._fixed_s / self._per_token_s

    def predict_s(self, padded_tokens: int) -> float:
        return (self._fixed_s + self._per_token_s * padded_tokens) * self._correction

    def observe(self, padded_tokens: int, seconds: float) -> None:
        """Learn from a batch that ran."""
        uncorrected = self._fixed_s + self._per_token_s * padded_tokens
        self._correction += _NEWEST * (seconds / uncorrected - self._correction)
