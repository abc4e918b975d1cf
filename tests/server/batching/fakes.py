"""A model whose answers can be foretold, and work for it."""

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finesieve_server.batching.work import Done, Work
from finesieve_server.errors import ModelFailure

# The first token of an item says what the model makes of it.
RAISE, NAN, BUG = -1, -2, -3


class Lengths:
    """A model whose answer to an item is its length; it can be held, and it fails on request."""

    max_tokens = 4096

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def run(self, batch: Sequence[list[int]]) -> NDArray[np.float32]:
        self.started.release()
        self.gate.wait()
        self.batches.append([len(item) for item in batch])
        if any(item[0] == RAISE for item in batch):
            raise ModelFailure("this item spoils its batch")
        if any(item[0] == BUG for item in batch):
            raise ValueError("nobody thought of this")
        return np.array(
            [np.nan if item[0] == NAN else len(item) for item in batch], dtype=np.float32
        )

    def example(self, tokens: int) -> list[int]:
        return [0] * tokens

    def hold(self) -> None:
        while self.started.acquire(blocking=False):
            pass
        self.gate.clear()

    async def wait_until_running(self) -> None:
        await asyncio.to_thread(self.started.acquire)


def work(
    *lengths: int,
    mark: int = 0,
    seconds: float = 30.0,
    partial: bool = False,
    keys: Sequence[bytes] | None = None,
) -> Work:
    items = [[mark] * length for length in lengths]
    return Work("lengths", items, time.monotonic() + seconds, partial=partial, keys=keys)


def logits(done: Done) -> list[float]:
    return [float(row) for row in done.rows if isinstance(row, np.float32)]
