"""Keep apart what searches see while writes go from the store to the vectors.

A write that removes passages, or moves them to other labels, is in the store when it commits and in
the vectors a moment later. What is read of both must be of one state; the store's versions tell.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Showing:
    """Which moving writes the vectors show. One thread writes, any number search."""

    def __init__(self) -> None:
        self._write = threading.Lock()  # held from before a commit until the vectors show it
        self._changed = threading.Condition()
        self._coming: int | None = None  # the move that the store may show and the vectors do not
        self._shown = 0  # the newest move that the vectors show

    @contextmanager
    def showing(self, version: int, *, moves: bool) -> Iterator[None]:
        """Commit the store's version within the block, and then show it in the vectors."""
        with self._write:
            if moves:
                self._coming = version
            try:
                yield
                self._shown = max(self._shown, self._coming or 0)
            finally:
                with self._changed:
                    self._coming = None
                    self._changed.notify_all()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let no write commit during the block."""
        with self._write:
            yield

    def wait_for(self, version: int) -> None:
        """Return once the vectors show all moves that the store's version has; that is soon."""
        with self._changed:
            self._changed.wait_for(lambda: self._coming is None or self._coming > version)

    def shows_beyond(self, version: int) -> bool:
        """Whether the vectors show moves that the store's version has not."""
        return self._shown > version
