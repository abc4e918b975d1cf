"""Learn how long before its deadline a partial call must have its scores. No clock, no I/O."""

# What the answer needs on its way to the caller: encoding, the wire.
_ON_THE_WAY_S = 0.005
_LATE = 0.01  # of the calls that a deadline cuts short
_STEP_S = 0.005
_LEAST_S, _MOST_S = 0.01, 0.25
_SHARE = 0.25  # of a call's time, at the most


class AnswerMargin:
    """Grows where answers come late, and shrinks slowly where they do not.

    One late answer moves it as far as 99 in time move it back, so that it settles where one in a
    hundred is late (stochastic approximation of a quantile: Robbins & Monro 1951).
    """

    def __init__(self) -> None:
        self._seconds = 0.02

    def of(self, time_s: float) -> float:
        """Return the margin in seconds of a call that has so long until its deadline."""
        return min(self._seconds, _SHARE * time_s)

    def observe(self, time_s: float, spare_s: float) -> None:
        """Learn from an answer to such a call that was ready so long before its deadline.

        A call that is too short for the margin would be late with any, and teaches nothing.
        """
        if self.of(time_s) < self._seconds:
            return
        late = spare_s < _ON_THE_WAY_S
        moved_s = self._seconds + _STEP_S * (late - _LATE)
        self._seconds = min(max(moved_s, _LEAST_S), _MOST_S)
