"""Answer for one collection that Milvus holds.

Writes of this server run one after the other, on the collection's own thread. What several calls
to Milvus do together is not one transaction there; docs/milvus.md says what that means.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from finesieve_server.errors import FinesieveError, Unavailable
from finesieve_server.index.distances import comparable, comparable_passages, query_fields
from finesieve_server.index.filters import Filter
from finesieve_server.index.milvus import schema
from finesieve_server.index.milvus.connection import Caller, Connection
from finesieve_server.index.milvus.expressions import (
    IS_FOUND,
    all_of,
    expression_of,
    id_in,
    in_documents,
)
from finesieve_server.index.milvus.lexical import words_of_query
from finesieve_server.index.milvus.reader import Reader
from finesieve_server.index.records import (
    CollectionInfo,
    CollectionSpec,
    Distance,
    Embedding,
    Family,
    Found,
    Matrix,
    Neighbours,
    Passage,
    State,
    Upserted,
    View,
    require_distinct,
    require_documents,
)

QUERIES_AT_A_TIME = 32
IDS_AT_A_TIME = 1_000  # in one expression
MAX_EF = 32_768  # the most that Milvus takes

Result = TypeVar("Result")


class Collection:
    """Passages under one name, in Milvus. The catalog makes and closes it."""

    def __init__(self, connection: Connection, spec: CollectionSpec, create_time: datetime) -> None:
        self.spec = spec
        self._connection = connection
        self._milvus_name = schema.milvus_name(spec.name)
        self._create_time = self._update_time = create_time
        self._writer = ThreadPoolExecutor(1, f"writer-{spec.name}")
        self._refusal: FinesieveError | None = None

    async def info(self) -> CollectionInfo:
        """Return what the collection is at this moment."""

        def ask(read: Reader) -> tuple[int, State]:
            if not read.is_loaded():
                return 0, State.REBUILDING
            return read.count(), State.READY

        count, state = await self._read(ask)
        return CollectionInfo(self.spec, count, self._create_time, self._update_time, state)

    async def upsert(
        self,
        passages: Sequence[Passage],
        vectors: Sequence[Embedding | None],
        tokens: Mapping[str, Sequence[bytes | None]] = MappingProxyType({}),  # noqa: ARG002 -- not kept
        *,
        replace_documents: bool = False,
    ) -> Upserted:
        """Store passages; all or none of them as far as Milvus keeps one request whole."""

        def store(read: Reader, call: Caller) -> Upserted:
            rows = self._rows(passages, vectors)
            if not rows:
                return Upserted(0, 0)
            ids = [passage.id for passage in passages]
            there, stale = read.ids(id_in(ids)), set[str]()
            if replace_documents:
                documents = {passage.document_id for passage in passages}
                stale = read.ids(in_documents(sorted(documents))) - set(ids)
            call("upsert", self._milvus_name, rows)
            gone = sorted(stale)
            for first in range(0, len(gone), IDS_AT_A_TIME):
                some = gone[first : first + IDS_AT_A_TIME]
                call("delete", self._milvus_name, filter=id_in(some))
            return Upserted(len(ids) - len(there), len(there), len(stale))

        require_distinct(passages)
        if replace_documents:
            require_documents(passages)
        return await self._write(store)

    async def delete(self, ids: Sequence[str]) -> int:
        """Delete passages; return how many there were."""
        return await self._delete(id_in(dict.fromkeys(ids)))

    async def delete_where(self, filter: Filter) -> int:
        """Delete the passages that the filter takes; return how many there were."""
        return await self._delete(expression_of(filter))

    async def get(self, ids: Sequence[str], view: View) -> list[Passage]:
        """Return passages in the order of the ids; missing ones are left out."""
        return await self._read(lambda read: read.get(ids, view))

    async def page(
        self, after: str, limit: int, max_bytes: int, filter: Filter | None, view: View
    ) -> tuple[list[Passage], bool]:
        """Return passages with ids beyond `after`, by code point, and whether more follow."""
        return await self._read(lambda read: read.page(after, limit, max_bytes, filter, view))

    async def read(
        self,
        rankings: Sequence[Sequence[Found]],
        view: View,
        *,
        tokens_of: str = "",  # noqa: ARG002 -- not kept
        max_bytes: int | None = None,
    ) -> list[list[Found]]:
        """Return what was found, by id, with a view of it; what is gone is left out."""
        times = Counter(each.passage.id for ranking in rankings for each in ranking)
        there = await self._read(lambda read: read.read(times, view, max_bytes))
        return [
            [Found(there[id_], each.score) for each in ranking if (id_ := each.passage.id) in there]
            for ranking in rankings
        ]

    async def neighbours(
        self, of: Sequence[Passage], window: int, view: View, *, max_bytes: int
    ) -> list[Neighbours]:
        """Return up to `window` passages before and after each of these in its document."""
        return await self._read(lambda read: read.neighbours(of, window, view, max_bytes))

    async def family(self, parent_ids: Sequence[str], view: View) -> dict[str, Family]:
        """Return those of these passages that exist, and how many children each has, by id."""
        return await self._read(lambda read: read.family(parent_ids, view))

    async def search(
        self,
        queries: Sequence[Embedding] | Matrix,
        top_k: int,
        *,
        ef_search: int = 0,
        exact: bool = False,
        filter: Filter | None = None,
        view: View = View.FULL,
        tokens_of: str = "",  # noqa: ARG002 -- not kept
        fields: Sequence[str] = (),
    ) -> list[list[Found]]:
        """Return per query the nearest passages, best first; `exact` as far as MAX_EF goes."""
        compared = await asyncio.to_thread(
            comparable,
            list(queries),
            fields or query_fields(len(queries)),
            self.spec.dimension,
            self.spec.distance,
        )
        considered = MAX_EF if exact else max(ef_search or self.spec.hnsw.ef_search, top_k)
        sign = -1 if self.spec.distance is Distance.L2 else 1
        return await self._search(
            list(compared),
            top_k,
            "embedding",
            {"metric_type": schema.METRICS[self.spec.distance], "params": {"ef": considered}},
            filter,
            view,
            lambda distance: sign * distance,
        )

    async def search_lexical(
        self,
        queries: Sequence[str],
        top_k: int,
        *,
        filter: Filter | None = None,
        view: View = View.FULL,
        tokens_of: str = "",  # noqa: ARG002 -- not kept
    ) -> list[list[Found]]:
        """Return per query the passages that share most with its words, by BM25, best first."""
        # Milvus gives BM25 itself, milvus-lite its negative.
        words = [words_of_query(query) for query in queries]
        return await self._search(
            words, top_k, "word_counts", {"metric_type": "BM25"}, filter, view, abs
        )

    def close(self, refusal: FinesieveError | None = None) -> None:
        """Finish the writes; calls that come later are refused. Blocks."""
        self._refusal = refusal or Unavailable("the server is stopping")
        self._writer.shutdown(wait=True)

    async def _search(
        self,
        queries: Sequence[Any],
        top_k: int,
        field: str,
        params: Mapping[str, Any],
        filter: Filter | None,
        view: View,
        score: Callable[[float], float],
    ) -> list[list[Found]]:
        taken = all_of(IS_FOUND, "" if filter is None else expression_of(filter))

        def search_from(read: Reader, first: int) -> list[list[Found]]:
            some = queries[first : first + QUERIES_AT_A_TIME]
            answers = read.search(some, top_k, field, params, taken, view)
            return [[Found(passage, score(each)) for passage, each in hits] for hits in answers]

        starts = range(0, len(queries), QUERIES_AT_A_TIME)
        parts = await asyncio.gather(
            *(self._read(partial(search_from, first=first)) for first in starts)
        )
        return [found for part in parts for found in part]

    def _rows(self, passages: Sequence[Passage], vectors: Sequence[Embedding | None]) -> list[Any]:
        embeddings, found, matrix = comparable_passages(passages, vectors, self.spec)
        compared = dict(zip(found, matrix, strict=True))
        # What search never finds has a place in the graph all the same.
        nowhere = np.eye(1, self.spec.dimension, dtype=np.float32)[0]
        return [
            schema.row_of(
                position,
                passage,
                nowhere if embedding is None else embedding,
                compared.get(position, nowhere),
            )
            for position, (passage, embedding) in enumerate(zip(passages, embeddings, strict=True))
        ]

    async def _delete(self, taken: str) -> int:
        def remove(read: Reader, call: Caller) -> int:
            if there := read.count(taken):
                call("delete", self._milvus_name, filter=taken)
            return there

        return await self._write(remove)

    async def _read(self, work: Callable[[Reader], Result]) -> Result:
        self._require_open()
        return await self._connection.run(
            lambda call: work(Reader(call, self._milvus_name)), self.spec.name
        )

    async def _write(self, work: Callable[[Reader, Caller], Result]) -> Result:
        self._require_open()
        written = await self._connection.run(
            lambda call: work(Reader(call, self._milvus_name), call), self.spec.name, self._writer
        )
        self._update_time = datetime.now(UTC)
        return written

    def _require_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal
