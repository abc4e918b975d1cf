"""Watch how much memory a driver holds while it carries out an order."""

import threading
from statistics import median
from typing import Self

from clients.conformance.drivers import Driver

MIB = 1024 * 1024
SAMPLE_S = 0.02


class Memory:
    """Samples a driver's memory until it is left."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._samples: list[int] = []
        self._left = threading.Event()
        self._sampling = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._sampling.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._sampling.join()

    def _sample(self) -> None:
        while not self._left.wait(SAMPLE_S):
            self._samples.append(self._driver.resident_bytes())

    def peak(self) -> int:
        """Return by how many bytes the most was more than the first."""
        return max(self._samples) - self._samples[0]

    def growth(self) -> float:
        """Return by how many bytes the last tenth was more than the tenth after the middle."""
        tenth = len(self._samples) // 10
        assert tenth, "too short to tell"
        return median(self._samples[-tenth:]) - median(self._samples[5 * tenth : 6 * tenth])
