"""Offer a server a multiple of its peak, and then less than the peak again."""

import os
import time
from dataclasses import dataclass

from benchmarks.machine import cpu_seconds
from benchmarks.open_loop import (
    LATE,
    OK,
    REFUSED,
    Phase,
    Senders,
    due,
    percentile,
    poisson,
    share_in_time,
)

# What is due in the first second of a load still meets an empty queue.
WARM_S = 1.0
# The load after the overload, as a share of the peak, and for how long.
RELIEF = 0.8
RELIEF_S = 10.0
# The server should be itself again after so long.
RECOVERED_S = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What became of one multiple of the peak. Times count from when a call was due."""

    factor: float
    offered: float  # calls a second
    goodput: float  # calls answered inside their deadline, a second
    admitted_in_time: float  # share
    admitted_s: tuple[float, float]  # p50, p99
    refused: float  # share
    refusal_s: tuple[float, float]  # p50, p99
    failed: int  # neither answered nor refused nor late: there should be none
    relieved: float  # share in time of those due in the first second of relief
    recovered: float  # and of those after it
    server_cpu: float  # share of all cores
    senders_cpu: float
    lag_p99_s: float  # of the senders


def offer(
    senders: Senders,
    server_pid: int,
    peak: float,
    factor: float,
    *,
    seconds: float,
    deadline_s: float,
) -> Load:
    """Send `factor` times the peak for so many seconds, then RELIEF of it."""
    phases = [Phase(factor * peak, seconds), Phase(RELIEF * peak, RELIEF_S)]
    start = senders.launch(poisson(phases, seed=round(100 * factor)), deadline_s)
    _sleep_until(start)
    before = cpu_seconds(server_pid), senders.cpu_s()
    _sleep_until(start + seconds)
    after = cpu_seconds(server_pid), senders.cpu_s()
    sent = senders.collect()
    # The last calls before the relief already profit from it.
    loaded = due(sent, WARM_S, seconds - deadline_s)
    admitted = [each for each in loaded if each.code in (OK, LATE)]
    refused = [each for each in loaded if each.code == REFUSED]
    admitted_s = [each.took_s for each in admitted]
    refusal_s = [each.took_s for each in refused]
    core_seconds = seconds * len(os.sched_getaffinity(0))
    return Load(
        factor,
        factor * peak,
        goodput=factor * peak * share_in_time(loaded),
        admitted_in_time=share_in_time(admitted),
        admitted_s=(percentile(admitted_s, 0.5), percentile(admitted_s, 0.99)),
        refused=len(refused) / max(1, len(loaded)),
        refusal_s=(percentile(refusal_s, 0.5), percentile(refusal_s, 0.99)),
        failed=sum(each.code not in (OK, LATE, REFUSED) for each in sent),
        relieved=share_in_time(due(sent, seconds, seconds + RECOVERED_S)),
        recovered=share_in_time(due(sent, seconds + RECOVERED_S)),
        server_cpu=(after[0] - before[0]) / core_seconds,
        senders_cpu=(after[1] - before[1]) / core_seconds,
        lag_p99_s=percentile((each.lag_s for each in loaded), 0.99),
    )


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
