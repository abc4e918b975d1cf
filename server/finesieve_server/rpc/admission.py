"""Decide which calls are let in: only while serving, and only so many at a time."""

import asyncio
from enum import Enum

from prometheus_client import Gauge

from finesieve_server.errors import Overloaded, Unavailable

# A refused caller is asked to wait about as long as one call takes, within these bounds.
_MIN_RETRY_S = 0.05
_MAX_RETRY_S = 5.0
_NEWEST_CALL_WEIGHT = 0.05


class Phase(Enum):
    """What the server does with a new call."""

    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"


class Admission:
    """Counts the calls from their first byte to their last."""

    def __init__(self, max_calls: int, in_flight: Gauge) -> None:
        self.phase = Phase.LOADING
        self._max_calls = max_calls
        self._in_flight = 0
        self._arrivals = 0
        self._gauge = in_flight
        self._typical_s = 0.0
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self) -> None:
        """Count one call in. Raises Unavailable or Overloaded."""
        self._arrivals += 1
        if self.phase is not Phase.SERVING:
            raise Unavailable(f"the server is {self.phase.value}")
        if self._in_flight >= self._max_calls:
            retry_after_s = min(max(self._typical_s, _MIN_RETRY_S), _MAX_RETRY_S)
            raise Overloaded(
                f"{self._max_calls} calls are in flight, as many as this server takes",
                retry_after_s=retry_after_s,
            )
        self._in_flight += 1
        self._gauge.set(self._in_flight)
        self._empty.clear()

    def leave(self, seconds: float) -> None:
        """Count one call out, `seconds` after it came in."""
        self._in_flight -= 1
        self._gauge.set(self._in_flight)
        self._typical_s += _NEWEST_CALL_WEIGHT * (seconds - self._typical_s)
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
