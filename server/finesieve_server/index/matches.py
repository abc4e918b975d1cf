"""Remember which slots filters take, so that the store is asked once for each.

What lies under a label never changes: an update moves its passage to another. So a verdict holds
for as long as the slots do, and only slots that came later are left to ask about.
"""

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.exact import Slots
from finesieve_server.index.filter_sql import Condition, accepts
from finesieve_server.index.filters import Filter
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import Labels

MAX_FILTERS = 32  # remembered for one collection
LIST_SHARE = 8  # a list of one slot in so many takes a byte a vector, as verdicts do
MAX_LATE = 1_000  # slots that came later and are asked about one by one

_TAKEN, _REFUSED = 1, 2  # and 0: nobody asked


class SlotLabels:
    """Which label lies in which slot, for slots below `count`; both ascend."""

    def __init__(self, labels: Labels, count: int) -> None:
        self.count = count
        self._labels = labels[:count]

    def of(self, slots: Slots) -> Labels:
        return self._labels[slots]

    def slots_of(self, labels: Labels) -> Slots:
        """Return the slots of those labels that have one, in their order."""
        slots: Slots = np.searchsorted(self._labels, labels)
        inside = slots < self.count
        inside[inside] = self._labels[slots[inside]] == labels[inside]
        return slots[inside]


class Matches:
    """What is known of one filter's matches. Any number of threads ask; all learn the same."""

    def __init__(self, condition: Filter) -> None:
        self._condition = condition
        self._listed: tuple[Slots, int] | None = None  # all that match, below a slot
        self._verdicts: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._not_few = 0  # of this limit, more matched

    def few(self, reader: Reader, labels: SlotLabels, limit: int) -> Slots | None:
        """Return what `all` returns, or None where that may be `limit` slots or more."""
        slots = self._remembered(reader, labels)
        if slots is None:
            if self._not_few < limit and reader.at_most(self._condition, limit) >= limit:
                self._not_few = limit
            if self._not_few >= limit:
                return None
            slots = self.all(reader, labels)
        return slots if len(slots) < limit else None

    def all(self, reader: Reader, labels: SlotLabels) -> Slots:
        """Return the matching slots, ascending; some of them may be dead."""
        slots = self._remembered(reader, labels)
        if slots is None:
            slots = labels.slots_of(reader.labels_matching(self._condition))
            if len(slots) * LIST_SHARE <= labels.count:
                self._listed = slots, labels.count
        return slots

    def taken(self, reader: Reader, labels: SlotLabels, slots: Slots) -> NDArray[np.bool_]:
        """Return for each slot whether the filter takes it."""
        listed = self._remembered(reader, labels)
        if listed is not None:
            return np.isin(slots, listed, assume_unique=True)
        verdicts = self._verdicts  # others may put a longer array in its place meanwhile
        if len(verdicts) < labels.count:
            longer = np.zeros(labels.count + labels.count // 8, np.uint8)
            longer[: len(verdicts)] = verdicts
            self._verdicts = verdicts = longer
        new = slots[verdicts[slots] == 0]
        if len(new):
            taken = self._asked(reader, labels, new)
            verdicts[new] = np.where(np.isin(new, taken), _TAKEN, _REFUSED)
        return np.equal(verdicts[slots], _TAKEN)

    def _remembered(self, reader: Reader, labels: SlotLabels) -> Slots | None:
        if self._listed is None:
            return None
        slots, through = self._listed
        if labels.count <= through:  # one who began earlier sees no later ones
            return slots[: np.searchsorted(slots, labels.count)]
        if labels.count > through + MAX_LATE:
            return None
        late = self._asked(reader, labels, np.arange(through, labels.count))
        slots = np.concatenate([slots, late])
        self._listed = slots, labels.count
        return slots

    def _asked(self, reader: Reader, labels: SlotLabels, slots: Slots) -> Slots:
        """Return those of the slots that the filter takes, ascending."""
        return np.sort(labels.slots_of(reader.accepted(self._condition, labels.of(slots))))


class KnownMatches:
    """The matches of the filters that were used last, for as long as the slots hold."""

    def __init__(self) -> None:
        self._by_condition: OrderedDict[Condition, Matches] = OrderedDict()
        self._guard = threading.Lock()

    def of(self, condition: Filter) -> Matches:
        # The compiled filter tells 1 from "1" and from True, which Python takes for 1.
        key = accepts(condition)
        with self._guard:
            matches = self._by_condition.setdefault(key, Matches(condition))
            self._by_condition.move_to_end(key)
            if len(self._by_condition) > MAX_FILTERS:
                self._by_condition.popitem(last=False)
            return matches
