"""Decide which calls are let in: only while serving, only so many, and fairly between tenants."""

import asyncio
from collections import Counter
from enum import Enum

from prometheus_client import Gauge

from finesieve_server.errors import Overloaded, Unavailable

# A refused caller is asked to wait about as long as one call takes, within these bounds.
_MIN_RETRY_S = 0.05
_MAX_RETRY_S = 5.0
_NEWEST_CALL_WEIGHT = 0.05
# A tenant may have so many calls inside for each place that is free. So one alone gets eight ninths
# of all, two that want all get eight seventeenths each, and a newcomer finds room beside them.
# Source: the dynamic threshold of Choudhury and Hahne 1998, IEEE/ACM Trans. Networking 6(2).
_CALLS_PER_FREE_PLACE = 8


class Phase(Enum):
    """What the server does with a new call."""

    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"


class Admission:
    """Counts the calls, and each tenant's, from their first byte to their last."""

    def __init__(self, max_calls: int, in_flight: Gauge) -> None:
        self.phase = Phase.LOADING
        self._max_calls = max_calls
        self._in_flight = 0
        self._inside: Counter[str] = Counter()  # by tenant, only those that have any
        self._arrivals = 0
        self._gauge = in_flight
        self._typical_s = 0.0
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self, tenant: str) -> None:
        """Count one call of the tenant in. Raises Unavailable or Overloaded."""
        self._arrivals += 1
        if self.phase is not Phase.SERVING:
            raise Unavailable(f"the server is {self.phase.value}")
        inside = self._inside[tenant]
        if inside >= _CALLS_PER_FREE_PLACE * (self._max_calls - self._in_flight):
            raise Overloaded(
                f"{self._in_flight} calls are in flight, {inside} of them yours; "
                f"this server takes {self._max_calls}, and keeps some for others",
                retry_after_s=max(self._typical_s, _MIN_RETRY_S),
            )
        self._in_flight += 1
        self._inside[tenant] += 1
        self._gauge.set(self._in_flight)
        self._empty.clear()

    def leave(self, tenant: str, seconds: float) -> None:
        """Count one call out, `seconds` after it came in."""
        self._in_flight -= 1
        self._inside[tenant] -= 1
        if not self._inside[tenant]:
            del self._inside[tenant]
        self._gauge.set(self._in_flight)
        # Streams may last for hours, and say nothing of when a place is free.
        newest_s = min(seconds, _MAX_RETRY_S)
        self._typical_s += _NEWEST_CALL_WEIGHT * (newest_s - self._typical_s)
        if not self._in_flight:
            self._empty.set()

    async def empty(self) -> None:
        """Return once no call is left inside."""
        await self._empty.wait()

    async def quiet(self, seconds: float) -> None:
        """Return once no call is left inside, and none has come, let in or not, for `seconds`."""
        seen = -1
        while seen != self._arrivals:
            await self._empty.wait()
            seen = self._arrivals
            await asyncio.sleep(seconds)
