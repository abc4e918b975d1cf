"""Name what a search carries from the first stage to its answer. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from finesieve_server.index.records import Found, Neighbours, Passage
from finesieve_server.search.ranking import Ranked


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A passage between the stages, and what was found of it: itself, or what it replaced.

    `found` has the ranks of the first stage, and the best of them first.
    """

    passage: Passage
    found: Sequence[tuple[int, Found]]

    @property
    def rank(self) -> int:
        return self.found[0][0]

    @property
    def score(self) -> float:
        return self.found[0][1].score

    @property
    def tokens(self) -> bytes | None:
        """Return what was kept of the passage, where it was found itself."""
        own = (each.tokens for _, each in self.found if each.passage.id == self.passage.id)
        return next(own, None)

    @property
    def merged_ids(self) -> list[str]:
        """Return the passages found that this one replaced, best first."""
        ids = (each.passage.id for _, each in self.found)
        return [id_ for id_ in ids if id_ != self.passage.id]


@dataclass(frozen=True, slots=True)
class SearchHit:
    """What was retrieved, what the second stage made of it, and what stands around it."""

    retrieved: Retrieved
    ranked: Ranked | None = None
    neighbours: Neighbours = Neighbours()

    @property
    def relevance(self) -> float | None:
        """Return what the last stage that ran ordered it by; None where that has no score of it."""
        if self.ranked is None:
            return self.retrieved.score
        return self.ranked.score.ordering if self.ranked.score else None
