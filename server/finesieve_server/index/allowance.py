"""Bound what all parts of one read may hold together."""

import threading

from finesieve_server.errors import AnswerTooLarge


class Allowance:
    """So many bytes, from which any thread takes; None: any number."""

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes = max_bytes
        self._taken = 0
        self._guard = threading.Lock()

    @property
    def is_bounded(self) -> bool:
        return self._max_bytes is not None

    def take(self, size: int) -> None:
        """Count bytes that are about to be read. Raises AnswerTooLarge."""
        with self._guard:
            self._taken += size
            if self._max_bytes is not None and self._taken > self._max_bytes:
                raise AnswerTooLarge(self._taken, self._max_bytes)
