"""Do long work on the event loop without keeping other calls waiting."""

import asyncio
import time
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

_TURN_S = 0.005


class Turns:
    """Remembers how long one job has had the event loop for itself."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def collect(self, items: Iterable[T]) -> list[T]:
        """Return the items; while they are made, others have their turn every few milliseconds."""
        collected = []
        for item in items:
            collected.append(item)
            if time.perf_counter() - self._began > _TURN_S:
                await asyncio.sleep(0)
                self._began = time.perf_counter()
        return collected
