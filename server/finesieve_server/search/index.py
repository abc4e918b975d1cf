"""Say what both stages need of an index, whichever engine it is. app.py fills it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from finesieve_server.index.filters import Filter
from finesieve_server.index.records import (
    CollectionInfo,
    CollectionSpec,
    Embedding,
    Family,
    Found,
    Matrix,
    Neighbours,
    Passage,
    Upserted,
    View,
)


class Collection(Protocol):
    """Passages under one name. Each call may raise CollectionNotFound, DataLoss, Unavailable."""

    @property
    def spec(self) -> CollectionSpec:
        """What was fixed when the collection was created."""

    async def info(self) -> CollectionInfo:
        """Return what the collection is at this moment."""

    async def upsert(
        self,
        passages: Sequence[Passage],
        vectors: Sequence[Embedding | None],
        tokens: Mapping[str, Sequence[bytes | None]],
        *,
        replace_documents: bool,
    ) -> Upserted:
        """Store all passages or none, durably; one vector each, None where context_only.

        A passage takes the place of the one that had its id; nothing of that stays. Under each
        key of `tokens`, what a model reads of each passage: an index may keep it, for `search` to
        give back. With `replace_documents`, nothing else stays of the documents that the
        passages belong to. Raises StorageFull, DuplicateId, or InvalidArgument naming passages[i].
        """

    async def delete(self, ids: Sequence[str]) -> int:
        """Delete passages durably; return how many there were."""

    async def delete_where(self, filter: Filter) -> int:
        """Delete all passages that the filter takes, durably and at once; return how many."""

    async def get(self, ids: Sequence[str], view: View) -> list[Passage]:
        """Return passages in the order of the ids; missing ones are left out."""

    async def read(
        self,
        rankings: Sequence[Sequence[Found]],
        view: View,
        *,
        tokens_of: str,
        max_bytes: int | None,
    ) -> Sequence[Sequence[Found]]:
        """Return what was found, by id, with a view of it and the tokens kept under a key, if any.

        What is gone meanwhile is left out. Raises AnswerTooLarge where all together hold more
        than max_bytes.
        """

    async def neighbours(
        self, of: Sequence[Passage], window: int, view: View, *, max_bytes: int
    ) -> list[Neighbours]:
        """Return up to `window` passages before and after each of these in its document.

        Neighbours are both found by search or both context_only; of the latter, both have a
        parent or both have none. The order is by ordinal, then id. A passage of no document has
        none. Raises AnswerTooLarge where all together hold more than max_bytes.
        """

    async def family(self, parent_ids: Sequence[str], view: View) -> dict[str, Family]:
        """Return these passages and how many children each has, by id; missing ones are left out.

        A child is a passage whose parent_id says so, of whatever document.
        """

    async def page(
        self, after: str, limit: int, max_bytes: int, filter: Filter | None, view: View
    ) -> tuple[list[Passage], bool]:
        """Return passages with ids beyond `after`, by code point, and whether more follow.

        The page may end early, at about max_bytes; it holds one passage at least if any is left.
        """

    async def search(
        self,
        queries: Sequence[Embedding] | Matrix,
        top_k: int,
        *,
        ef_search: int,
        exact: bool,
        filter: Filter | None,
        view: View,
        tokens_of: str,
        fields: Sequence[str],
    ) -> Sequence[Sequence[Found]]:
        """Return per query the nearest passages, best first; fewer than top_k if no more match.

        Each query is of the collection's dimension. ef_search 0: the collection's own. With
        `tokens_of`, passages bring the tokens that are kept with them under that key, if any.
        Raises InvalidArgument, which names by `fields`, one each, a query that cannot be compared.
        """

    async def search_lexical(
        self,
        queries: Sequence[str],
        top_k: int,
        *,
        filter: Filter | None,
        view: View,
        tokens_of: str,
    ) -> Sequence[Sequence[Found]]:
        """Return per query the passages that share most with its words, best first, by BM25.

        They are plain words, whatever they look like. Fewer than top_k if fewer share one.
        """


class Catalog(Protocol):
    """Collections by name."""

    async def get(self, name: str) -> Collection:
        """Return a collection. Raises CollectionNotFound."""

    async def page(self, after: str, limit: int) -> Sequence[Collection]:
        """Return up to `limit` collections with names beyond `after`, in the order of names."""

    async def create(self, spec: CollectionSpec) -> Collection:
        """Make an empty collection. Raises AlreadyExists."""

    async def delete(self, name: str) -> None:
        """Delete a collection with all its passages. Raises CollectionNotFound."""
