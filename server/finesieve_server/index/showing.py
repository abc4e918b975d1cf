"""Tell a search whether the store and the vectors that it read were of one state.

A write that removes passages, or moves them to other labels, is in the store when it commits and in
the vectors a moment later. Here such writes are counted: before the one, and after the other.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Showing:
    """Which moving writes are on their way. One thread writes, any number search."""

    def __init__(self) -> None:
        self._write = threading.Lock()  # held from before a commit until the vectors show it
        self._begun = 0  # moves that the store may show
        self._shown = 0  # moves that the vectors show

    @contextmanager
    def showing(self, *, moves: bool) -> Iterator[None]:
        """Commit within the block, and then show it in the vectors."""
        with self._write:
            self._begun += moves
            try:
                yield
            finally:
                self._shown = self._begun

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let no write commit during the block."""
        with self._write:
            yield

    def moves(self) -> int:
        """Return how many moves the vectors show; waits for one that is on its way."""
        if self._shown < self._begun:
            with self._write:
                pass  # Another may begin at once: `moved_since` tells.
        return self._shown

    def moved_since(self, moves: int) -> bool:
        """Whether store or vectors may show others than those moves."""
        return self._begun != moves
