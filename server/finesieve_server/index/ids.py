"""Remember which passage lies in which slot, so that the store is asked once for each.

What a slot holds never changes: an update moves its passage to another.
"""

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.exact import Slots
from finesieve_server.index.matches import SlotLabels
from finesieve_server.index.reader import Reader


class KnownIds:
    """The ids that searches came upon. Any number of threads ask; all learn the same."""

    def __init__(self) -> None:
        # Not a list: the garbage collector walks through that, and reads every id on its way.
        self._ids: NDArray[np.object_] = np.empty(0, np.object_)

    def of(self, slots: Slots, labels: SlotLabels, reader: Reader) -> list[str]:
        """Return the id of each slot's passage; "" where the reader does not see that one."""
        known = self._room_for(int(slots.max(initial=-1)) + 1)
        ids = known[slots].tolist()
        if None not in ids:
            return list(ids)
        unknown = np.unique(slots[[id_ is None for id_ in ids]])
        asked = labels.of(unknown)
        found = reader.ids_of(asked)
        known[unknown] = np.array([found.get(label) for label in asked.tolist()], np.object_)
        return [id_ or "" for id_ in known[slots].tolist()]

    def _room_for(self, slots: int) -> NDArray[np.object_]:
        """Return an array with so many places; what others learn meanwhile may be asked again."""
        known = self._ids
        if len(known) < slots:
            longer = np.empty(max(slots, len(known) + len(known) // 2), np.object_)
            longer[: len(known)] = known
            self._ids = known = longer
        return known
