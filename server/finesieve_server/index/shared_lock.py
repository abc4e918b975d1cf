"""Let many read or one write, in turns, so that neither side waits for more than one of the other.

A writer that waits holds back new readers; when it is done, those who waited go first.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedLock:
    """A readers-writer lock that starves nobody."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting_readers = 0
        self._waiting_writers = 0
        self._admitted = 0  # readers who go before the next writer

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold off writers during the block, not readers."""
        with self._changed:
            if self._writing or self._waiting_writers:
                self._waiting_readers += 1
                while self._writing or (self._waiting_writers and not self._admitted):
                    self._changed.wait()
                self._waiting_readers -= 1
                self._admitted = max(0, self._admitted - 1)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
                    self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold off everyone during the block."""
        with self._changed:
            self._waiting_writers += 1
            while self._writing or self._readers or self._admitted:
                self._changed.wait()
            self._waiting_writers -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._admitted = self._waiting_readers
                self._changed.notify_all()
