"""The ids that searches came upon."""

from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from finesieve_server.index.ids import KnownIds
from finesieve_server.index.matches import SlotLabels
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import Found, FoundIds, Passage

LABELS = SlotLabels(np.arange(100, 200), 100)


class Asked:
    """A reader that sees some labels, and remembers what it was asked for."""

    def __init__(self, seen: Iterable[int]) -> None:
        self.seen = set(seen)
        self.asked: list[list[int]] = []

    def ids_of(self, labels: Any) -> dict[int, str]:
        self.asked.append(labels.tolist())
        return {label: f"p{label}" for label in labels.tolist() if label in self.seen}


def ids_of(known: KnownIds, reader: Asked, *slots: int) -> list[str]:
    return known.of(np.array(slots, np.int64), LABELS, cast("Reader", reader))


def test_the_store_is_asked_once_for_each_slot() -> None:
    known, reader = KnownIds(), Asked(range(100, 200))

    assert ids_of(known, reader, 7, 3, 7) == ["p107", "p103", "p107"]
    assert ids_of(known, reader, 3, 90, 7) == ["p103", "p190", "p107"]
    assert ids_of(known, reader, 90, 3) == ["p190", "p103"]
    assert ids_of(known, reader) == []

    assert reader.asked == [[103, 107], [190]]


def test_what_a_reader_does_not_see_is_asked_again() -> None:
    known, reader = KnownIds(), Asked([101])
    assert ids_of(known, reader, 1, 2) == ["p101", ""]

    reader.seen.add(102)

    assert ids_of(known, reader, 1, 2) == ["p101", "p102"]
    assert reader.asked == [[101, 102], [102]]


def test_found_ids_read_as_records_do() -> None:
    found = FoundIds(["a", "", "b"], [3.0, 2.0, 1.0])

    assert list(found.there()) == [Found(Passage("a"), 3.0), Found(Passage("b"), 1.0)]
    assert found[0] == Found(Passage("a"), 3.0)
    assert list(found[1:]) == [Found(Passage(""), 2.0), Found(Passage("b"), 1.0)]
    assert len(found) == 3
