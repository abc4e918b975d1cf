"""Open a collection while the server serves: upgrade its store, then bring its index back.

Each call waits for as much of it as it needs. What a full disk stands in the way of is tried again.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

import structlog

from finesieve_server.errors import DataLoss, FinesieveError, Unavailable
from finesieve_server.index.engine import Engine
from finesieve_server.index.progress import TELL_FROM_S, Progress, logged

RETRY_S = 5.0

_log = structlog.get_logger(__name__)


class Opening:
    """The way of one engine from an open file to a whole collection, in the background."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        executor: Executor | None,
        damaged: Callable[[DataLoss], object],
    ) -> None:
        """Begin, on threads of the executor, or where there is none on threads of asyncio's own.

        `damaged` hears of a damage for which this ends without a whole collection.
        """
        self._engine = engine
        self._name = name
        self._executor = executor
        self._damaged = damaged
        self._stopping = asyncio.Event()
        self._begin()
        self._watching = asyncio.create_task(self._watch())

    async def upgraded(self) -> None:
        """Return once the store can be read. Raises what stands in the way."""
        await asyncio.shield(self._upgrading)

    async def recovered(self) -> None:
        """Return once everything can be done. Raises what stands in the way."""
        await asyncio.shield(self._recovering)

    async def stop(self) -> None:
        """Give up what is not finished; return once nothing of it runs."""
        self._stopping.set()
        await self._watching

    def _begin(self) -> None:
        self._upgrading = asyncio.create_task(self._in_thread(self._engine.store.upgrade))
        self._recovering = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        await self._upgrading
        await self._in_thread(self._engine.recover)

    async def _in_thread(self, work: Callable[[Progress], None]) -> None:
        tell = logged("collection opening", collection=self._name)

        def progress(step: str, done: int, of: int) -> None:
            if self._stopping.is_set():
                raise Unavailable("the collection is being closed")
            tell(step, done, of)

        def run() -> None:
            progress("wait", 0, 1)
            work(progress)

        await asyncio.get_running_loop().run_in_executor(self._executor, run)

    async def _watch(self) -> None:
        began = time.monotonic()
        while not await self._ended():
            try:
                await asyncio.wait_for(self._stopping.wait(), RETRY_S)
            except TimeoutError:
                self._begin()
        took_s = time.monotonic() - began
        if self._engine.recovered and took_s > TELL_FROM_S:
            vectors = self._engine.upkeep.vectors
            _log.info(
                "collection open",
                collection=self._name,
                vectors=vectors.live_count,
                in_graph=vectors.graphed,
                took_s=round(took_s, 3),
            )

    async def _ended(self) -> bool:
        """Wait for this attempt; return whether no other is to follow."""
        try:
            await self._recovering
        except DataLoss as error:
            self._damaged(error)
        except (FinesieveError, OSError) as error:
            if not self._stopping.is_set():
                _log.warning("collection not open", collection=self._name, error=str(error))
                return False
        except Exception:  # noqa: BLE001 -- the task's end: callers get it, and nobody else tells
            _log.exception("collection not open", collection=self._name)
        return True
