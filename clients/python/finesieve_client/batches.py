"""Cut rows into batches that one call takes, read by a thread of their own, a few calls at once.

So a producer that pauses holds up neither the calls under way nor the rows that came already.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from queue import Empty, Queue
from threading import Thread
from typing import Any, Generic, TypeVar

from finesieve_client.rows import BadRow, Row

BATCH_ROWS = 64
BATCH_BYTES = 2 * 1024 * 1024  # well under the 4 MiB that gRPC takes by default
CALLS_AT_ONCE = 2
PAUSE_S = 0.5  # without a further row, after which a batch goes as it is

Batch = list[Row | BadRow]
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Reader(Generic[Item]):
    """Items on their way from a producer that may be slow, so many `ahead` at most."""

    def __init__(self, items: Iterable[Item], ahead: int = 2 * BATCH_ROWS) -> None:
        self._ready: Queue[Item | None] = Queue(ahead)
        self._error: Exception | None = None
        self._closed = False
        # A daemon, because nothing can wake it from a pipe that stays silent.
        Thread(target=self._read, args=(items,), daemon=True).start()

    def __iter__(self) -> Iterator[Item | None]:
        """Yield the items, and None for each pause; `check` tells whether these were all."""
        while True:
            try:
                ready = self._ready.get(timeout=PAUSE_S)
            except Empty:
                yield None
                continue
            if ready is None:
                return
            yield ready

    def check(self) -> None:
        """Raise what the producer raised, if it did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Let the thread end with the item that it is at."""
        self._closed = True
        while not self._ready.empty():
            self._ready.get_nowait()

    def _read(self, items: Iterable[Item]) -> None:
        try:
            for item in items:
                self._ready.put(item)
                if self._closed:
                    return
        except Exception as error:  # noqa: BLE001  `check` raises it
            self._error = error
        self._ready.put(None)


def batches(rows: Iterable[Row | BadRow | None]) -> Iterator[Batch]:
    """Yield rows in their order, in batches of so many passages and bytes that one call takes.

    None among the rows is a pause: what there is by then, maybe nothing, is a batch.
    """
    batch: Batch = []
    size = 0
    for row in rows:
        row_bytes = row.passage.ByteSize() if isinstance(row, Row) else 0
        if row is None or (batch and (len(batch) == BATCH_ROWS or size + row_bytes > BATCH_BYTES)):
            yield batch
            batch, size = [], 0
        if row is not None:
            batch.append(row)
            size += row_bytes
    if batch:
        yield batch


async def written(
    reader: Reader[Item],
    batches: Iterator[list[Item]],
    write: Callable[[list[Item]], Coroutine[Any, Any, Outcome]],
) -> AsyncGenerator[Outcome, None]:
    """Write the batches that are cut of what a reader reads; yields what became of each.

    Raises what `write` raised, and what the reader's items raised after what came before is
    written.
    """
    waiting: set[asyncio.Future[Outcome]] = set()
    try:
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            if batch:
                waiting.add(asyncio.create_task(write(batch)))
            if waiting:
                patience_s = None if len(waiting) == CALLS_AT_ONCE else 0
                done, waiting = await asyncio.wait(
                    waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    yield task.result()
        for task in asyncio.as_completed(waiting):
            yield await task
        reader.check()
    finally:
        reader.close()
        for task in waiting:
            task.cancel()
