"""Give what was found its context: parents in the place of siblings, and what stands around."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finesieve_server.index.records import Family, Found, Neighbours, Passage, View
from finesieve_server.search.hits import Retrieved
from finesieve_server.search.index import Catalog

MAX_LEVELS = 8  # that merging climbs: nobody's documents have more, and chains may have no end


@dataclass(frozen=True, slots=True)
class Context:
    """How hits are widened; zeros leave them as they are.

    `window`: passages before and after each. `merge_share`: of a parent's children that must be
    found for it to replace them. `max_bytes`: what all windows together may hold.
    """

    window: int = 0
    merge_share: float = 0.0
    max_bytes: int = 0


class ContextReader:
    """Asks the index for parents and neighbours."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def merge(
        self, collection: str, found: Sequence[Found], share: float, view: View
    ) -> list[Retrieved]:
        """Return what was found, with parents in the place of children, level by level.

        A parent stands where the best of its children stood. Share 0: nothing is merged.
        """
        retrieved = [Retrieved(each.passage, [(rank, each)]) for rank, each in enumerate(found, 1)]
        families: dict[str, Family | None] = {"": None}
        replaced: set[str] = set()
        for _ in range(MAX_LEVELS if share else 0):
            parents = {each.passage.parent_id for each in retrieved}
            if unknown := sorted(parents - families.keys()):
                families |= dict.fromkeys(unknown)
                families |= await (await self._catalog.get(collection)).family(unknown, view)
            before = len(replaced)
            retrieved = _merged(retrieved, families, share, replaced)
            if len(replaced) == before:
                break
        return retrieved

    async def neighbours(
        self, collection: str, of: Sequence[Passage], context: Context, view: View
    ) -> list[Neighbours]:
        """Return what stands around each passage. Raises AnswerTooLarge."""
        target = await self._catalog.get(collection)
        return await target.neighbours(of, context.window, view, max_bytes=context.max_bytes)


def _merged(
    retrieved: Sequence[Retrieved],
    families: Mapping[str, Family | None],
    share: float,
    replaced: set[str],
) -> list[Retrieved]:
    """Return what stands after one step up, by rank; adds to `replaced` what no longer does.

    What was replaced never comes back: that ends every circle of parents.
    """
    standing = {each.passage.id: each for each in retrieved}
    siblings: dict[str, list[str]] = {}
    for each in retrieved:
        siblings.setdefault(each.passage.parent_id, []).append(each.passage.id)
    for parent_id, ids in siblings.items():
        family = families[parent_id]
        children = [id_ for id_ in ids if id_ in standing and id_ != parent_id]
        if family is None or parent_id in replaced or not children:
            continue
        if not _reaches(len(children), family.children, share):
            continue
        own = [standing[parent_id]] if parent_id in standing else []
        members = [*own, *(standing.pop(id_) for id_ in children)]
        standing[parent_id] = Retrieved(
            family.parent,
            sorted((place for each in members for place in each.found), key=lambda place: place[0]),
        )
        replaced.update(children)
    return sorted(standing.values(), key=lambda each: each.rank)


def _reaches(found: int, children: int, share: float) -> bool:
    # A request's share is a float32: only as such are 3 of 5 the same as 0.6. Fewer may be counted
    # than were found, where some were deleted between.
    return bool(np.float32(found / max(found, children)) >= np.float32(share))
