"""Cut rows into batches that one call takes, read by a thread of their own.

So a producer that pauses holds up neither the calls under way nor the rows that came already.
"""

from collections.abc import Iterable, Iterator
from queue import Empty, Queue
from threading import Thread

from finesieve_client.rows import BadRow, Row

BATCH_ROWS = 64
BATCH_BYTES = 2 * 1024 * 1024  # well under the 4 MiB that gRPC takes by default
PAUSE_S = 0.5  # without a further row, after which a batch goes as it is

Batch = list[Row | BadRow]


class Reader:
    """Rows on their way from a producer that may be slow, a few batches ahead."""

    def __init__(self, rows: Iterable[Row | BadRow]) -> None:
        self._ready: Queue[Row | BadRow | None] = Queue(2 * BATCH_ROWS)
        self._error: Exception | None = None
        self._closed = False
        # A daemon, because nothing can wake it from a pipe that stays silent.
        Thread(target=self._read, args=(rows,), daemon=True).start()

    def __iter__(self) -> Iterator[Row | BadRow | None]:
        """Yield the rows, and None for each pause; `check` tells whether these were all."""
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
        """Let the thread end with the row that it is at."""
        self._closed = True
        while not self._ready.empty():
            self._ready.get_nowait()

    def _read(self, rows: Iterable[Row | BadRow]) -> None:
        try:
            for row in rows:
                self._ready.put(row)
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
