"""What callers of the batcher give and get."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finesieve_server.batching.plan import Priority
from finesieve_server.errors import ModelFailure

# What came of one item: the model's output, its failure, or None where the deadline came first.
Row = NDArray[np.float32] | np.float32 | ModelFailure | None


@dataclass(frozen=True, slots=True)
class Work:
    """What one caller wants of one model, in its order of preference.

    Items of one key are the same to the model: they are run once, and what comes of them may be
    kept. An item without a key is like no other.
    """

    model: str
    items: Sequence[Sized]  # each as long as it has tokens
    deadline: float  # time.monotonic()
    priority: Priority = Priority.INTERACTIVE
    partial: bool = False
    tenant: str = "default"
    keys: Sequence[bytes] | None = None  # one an item


@dataclass(frozen=True, slots=True)
class Done:
    """One row an item, in the order of the work; None only in a partial work.

    `queue_s` is the time until the first batch started. `shared` counts the rows that cost nothing:
    they were kept, or computed for another item of the same key.
    """

    rows: Sequence[Row]
    queue_s: float
    shared: int = 0
