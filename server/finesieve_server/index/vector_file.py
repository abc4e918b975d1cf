"""Keep vectors in a file that only grows, mapped into memory to be read.

Writes go through pwrite: on a full disk it raises, where a write through the map kills the process.
"""

import os
from pathlib import Path

import numpy as np

from finesieve_server.index.records import Matrix

GROW_ROWS = 4_096


class VectorFile:
    """Rows of float32. One thread writes rows that nobody reads yet."""

    def __init__(self, path: Path, dimension: int) -> None:
        """Open the file, making it if it does not exist; its content stays."""
        self.path = path
        self._dimension = dimension
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.matrix: Matrix = np.empty((0, dimension), np.float32)  # (capacity, dimension)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows; matrix is another array afterwards, of the same content."""
        capacity = len(self.matrix)
        if rows <= capacity:
            return
        capacity = max(rows, capacity + max(GROW_ROWS, capacity // 2))
        os.ftruncate(self._descriptor, capacity * self._dimension * 4)  # sparse: no room taken yet
        mapped = np.memmap(self.path, np.float32, "r", shape=(capacity, self._dimension))
        self.matrix = np.asarray(mapped)

    def write(self, row: int, vectors: Matrix) -> None:
        """Write vectors from a reserved row on. Raises OSError where the disk is full."""
        if not len(vectors):
            return
        data = np.ascontiguousarray(vectors, np.float32).data.cast("B")
        offset = row * self._dimension * 4
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written

    def sync(self) -> None:
        """Make what was written durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file; who reads the matrix may go on."""
        os.close(self._descriptor)
