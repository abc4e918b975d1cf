"""What the benchmark asks of an engine, whoever made it."""

import os
from collections.abc import Sequence
from typing import Protocol

from benchmarks.workload import RerankCall

THREADS = len(os.sched_getaffinity(0))  # every engine gets all cores


class Unavailable(Exception):
    """An engine cannot be measured here, or did not answer; says why in one line."""


class Peer(Protocol):
    """A running engine, in a process of its own, that many callers may ask at once."""

    name: str
    pid: int

    async def warm_up(self, calls: Sequence[RerankCall]) -> None:
        """Become as fast as it will be on calls like these, before anything is measured."""
        ...

    async def rerank(self, call: RerankCall) -> list[float]:
        """Return one score a document, in the call's order; higher is more relevant.

        Raises Unavailable where no answer comes.
        """
        ...
