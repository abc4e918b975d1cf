"""Find the rate that a server just holds, under an open loop and a deadline.

The peak is the highest rate at which 99.9% of the calls are answered inside their deadline. To see
one call in a thousand takes thousands of calls, so a bisection goes by 99% of fewer calls, and what
it finds is proved, and lowered in steps where it does not hold.
"""

import statistics
from dataclasses import dataclass
from itertools import count

from benchmarks.open_loop import OK, Arrival, Phase, Senders, answered, poisson

# The deadline is so many times what a call takes on an idle server.
PATIENCE = 5.0
# Calls sent one by one, with pauses, to know that.
LONE_CALLS = 20
_LONE_DEADLINE_S = 30.0
_LONE_PAUSES = 3.0

_SEARCHED_SHARE = 0.99
_PROVED_SHARE = 0.999
# The bisection ends where its bounds are this close.
_CLOSE = 1.04
_STEP_DOWN = 0.95
# Where it looks, in calls for the time that one takes alone.
_LEAST, _MOST = 0.2, 2.0


@dataclass(frozen=True, slots=True)
class Peak:
    """The rate, and what was seen of it: of so many calls, so many were answered in time."""

    calls_per_s: float
    calls: int
    answered: int


def unloaded_s(senders: Senders) -> float:
    """Return the median time of a call that comes alone."""
    roughly_s = _median_s(senders, pause_s=1.0)
    return _median_s(senders, pause_s=_LONE_PAUSES * roughly_s)


def _median_s(senders: Senders, pause_s: float) -> float:
    senders.launch([Arrival(pause_s * number) for number in range(LONE_CALLS)], _LONE_DEADLINE_S)
    sent = senders.collect()
    if codes := {each.code for each in sent} - {OK}:
        raise RuntimeError(f"calls that came alone ended with {codes}; see the server's log")
    return statistics.median(each.took_s for each in sent)


def find_peak(
    senders: Senders, alone_s: float, deadline_s: float, *, searched: int, proved: int
) -> Peak:
    """Bisect over rates with `searched` calls each, then prove the best with `proved` calls."""
    seeds = count(1)

    def attempt(rate: float, calls: int, share: float) -> tuple[bool, Peak]:
        allowed = round(calls * (1 - share))
        arrivals = poisson([Phase(rate, calls / rate)], next(seeds))
        senders.launch(arrivals, deadline_s, max_missed=allowed)
        sent = senders.collect()
        peak = Peak(rate, len(sent), len(answered(sent)))
        holds = peak.calls - peak.answered <= allowed
        print(
            f"{rate:.2f} calls/s {'hold' if holds else 'do not hold'}: "
            f"{peak.answered} of {peak.calls} in time",
            flush=True,
        )
        return holds, peak

    holding, failing = _LEAST / alone_s, _MOST / alone_s
    while failing > _CLOSE * holding:
        rate = (holding * failing) ** 0.5
        holds, _ = attempt(rate, searched, _SEARCHED_SHARE)
        holding, failing = (rate, failing) if holds else (holding, rate)
    rate = holding
    while True:
        holds, peak = attempt(rate, proved, _PROVED_SHARE)
        if holds:
            return peak
        rate *= _STEP_DOWN
        if rate < _LEAST / alone_s:
            raise RuntimeError("no rate holds: the machine is too busy with other things")
