"""Answer for one collection, with all blocking work off the event loop.

Each write runs alone, on the collection's own thread, in the order in which it came; reads share
the catalog's threads. A write that has started is finished, whether or not its caller still waits;
one that has not is dropped with its caller.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from threading import Event
from types import MappingProxyType
from typing import TypeVar

import structlog

from finesieve_server.errors import CollectionNotFound, DataLoss, FinesieveError, Unavailable
from finesieve_server.index.allowance import Allowance
from finesieve_server.index.directory import Entry
from finesieve_server.index.distances import query_fields
from finesieve_server.index.engine import Abandoned, Engine
from finesieve_server.index.filters import Filter
from finesieve_server.index.opening import Opening
from finesieve_server.index.records import (
    CollectionInfo,
    Embedding,
    Family,
    Found,
    Matrix,
    Neighbours,
    Passage,
    State,
    Untokenized,
    Upserted,
    View,
)
from finesieve_server.index.upkeep import Shared

# Queries that one thread answers before other calls have their turn, some 20 ms.
QUERIES_AT_A_TIME = 128
EXACT_AT_A_TIME = 8
LEXICAL_AT_A_TIME = 2
READ_AT_A_TIME = 1_000  # passages

Stage = Callable[[Opening], Awaitable[None]]  # of opening, for which a call waits
Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class Collection:
    """Passages under one name. The catalog makes and closes it."""

    def __init__(self, entry: Entry, shared: Shared) -> None:
        """Open the store; blocks. A damaged one opens too, and answers DataLoss."""
        self.spec = entry.spec
        self._create_time = entry.create_time
        self._readers = shared.readers
        # Parts of one call: one more than run at once, so that none waits for the event loop.
        self._side_by_side = shared.threads + 1
        self._writer = ThreadPoolExecutor(1, f"writer-{entry.spec.name}")
        self._refusal: FinesieveError | None = None
        self._opening: Opening | None = None
        self._engine: Engine | None = None
        try:
            if entry.damage:
                raise DataLoss(entry.damage)
            self._engine = Engine(entry.folder, entry.spec, self._writer, shared)
        except DataLoss as error:
            self._damaged(error)

    def start(self, executor: Executor | None) -> None:
        """Bring up what a damage has not taken, in the background and once; calls wait for it."""
        if self._engine is not None:
            self._opening = Opening(self._engine, self.spec.name, executor, self._damaged)

    async def started(self) -> None:
        """Return once nothing has to be waited for. Raises what stands in the way."""
        if self._opening is not None:
            await self._opening.recovered()

    async def info(self) -> CollectionInfo:
        """Return what the collection is at this moment, from memory."""
        engine = self._engine
        if engine is None or isinstance(self._refusal, DataLoss):
            state = State.DAMAGED
        else:
            whole = engine.recovered and not engine.upkeep.rebuilding
            state = State.READY if whole else State.REBUILDING
        return CollectionInfo(
            spec=self.spec,
            passage_count=engine.store.count if engine else 0,
            create_time=self._create_time,
            update_time=engine.store.update_time if engine else self._create_time,
            state=state,
        )

    async def upsert(
        self,
        passages: Sequence[Passage],
        vectors: Sequence[Embedding | None],
        tokens: Mapping[str, Sequence[bytes | None]] = MappingProxyType({}),
        *,
        replace_documents: bool = False,
    ) -> Upserted:
        """Store all passages or none, durably; one vector each, None where context_only.

        Under each key of `tokens`, what a model reads of each passage, for `search` to give back.
        A passage takes the place of the one that had its id; nothing of that stays. With
        `replace_documents`, nor does anything else of the documents that the passages belong to.
        Raises StorageFull, DuplicateId, or InvalidArgument naming passages[i].
        """
        return await self._write(
            lambda engine: engine.upsert(passages, vectors, tokens, replace_documents)
        )

    async def delete(self, ids: Sequence[str]) -> int:
        """Delete passages durably; return how many there were."""
        return await self._write(lambda engine: engine.delete(ids))

    async def delete_where(self, filter: Filter) -> int:
        """Delete all passages that the filter takes, durably and at once; return how many."""
        return await self._write(lambda engine: engine.delete_where(filter))

    async def get(self, ids: Sequence[str], view: View) -> list[Passage]:
        """Return passages in the order of the ids; missing ones are left out."""
        return await self._read_store(lambda engine, abandoned: engine.get(ids, view, abandoned))

    async def read(
        self,
        rankings: Sequence[Sequence[Found]],
        view: View,
        *,
        tokens_of: str = "",
        max_bytes: int | None = None,
    ) -> list[list[Found]]:
        """Return what was found, by id, with a view of it and the tokens kept under a key.

        What is gone meanwhile is left out. Raises AnswerTooLarge where all together hold more
        than max_bytes.
        """
        times = Counter(each.passage.id for ranking in rankings for each in ranking)
        ids, allowance = list(times), Allowance(max_bytes)

        async def read_from(first: int) -> list[tuple[Passage, bytes | None]]:
            some = {id_: times[id_] for id_ in ids[first : first + READ_AT_A_TIME]}
            return await self._read_store(
                lambda engine, abandoned: engine.read(some, view, tokens_of, allowance, abandoned)
            )

        read = await self._in_parts(read_from, range(0, len(ids), READ_AT_A_TIME))
        there = {passage.id: (passage, tokens) for passage, tokens in read}
        return [
            [
                Found(there[id_][0], each.score, there[id_][1])
                for each in ranking
                if (id_ := each.passage.id) in there
            ]
            for ranking in rankings
        ]

    async def neighbours(
        self, of: Sequence[Passage], window: int, view: View, *, max_bytes: int
    ) -> list[Neighbours]:
        """Return up to `window` passages before and after each of these in its document.

        Neighbours are both found by search or both context_only; of the latter, both have a
        parent or both have none. The order is by ordinal, then id. A passage of no document has
        none. Raises AnswerTooLarge where all together hold more than max_bytes.
        """
        return await self._read_store(
            lambda engine, abandoned: engine.neighbours(of, window, view, max_bytes, abandoned)
        )

    async def family(self, parent_ids: Sequence[str], view: View) -> dict[str, Family]:
        """Return these passages and how many children each has, by id; missing ones are left out.

        A child is a passage whose parent_id says so, of whatever document.
        """
        return await self._read_store(
            lambda engine, abandoned: engine.family(parent_ids, view, abandoned)
        )

    async def page(
        self, after: str, limit: int, max_bytes: int, filter: Filter | None, view: View
    ) -> tuple[list[Passage], bool]:
        """Return passages with ids beyond `after`, by code point, and whether more follow.

        The page may end early, at about max_bytes; it holds one passage at least if any is left.
        """
        return await self._read_store(
            lambda engine, abandoned: engine.page(after, limit, max_bytes, filter, view, abandoned)
        )

    async def search(
        self,
        queries: Sequence[Embedding] | Matrix,
        top_k: int,
        *,
        ef_search: int = 0,
        exact: bool = False,
        filter: Filter | None = None,
        view: View = View.FULL,
        tokens_of: str = "",
        fields: Sequence[str] = (),
    ) -> list[Sequence[Found]]:
        """Return per query the nearest passages, best first; fewer than top_k if no more match.

        Each query is of the collection's dimension. ef_search 0: the collection's own. With
        `tokens_of`, passages bring the tokens that are kept with them under that key. Raises
        InvalidArgument, which names by `fields`, one each, a query that cannot be compared.
        """
        fields = fields or query_fields(len(queries))
        share = math.ceil(len(queries) / self._side_by_side)
        step = max(1, min(share, EXACT_AT_A_TIME if exact else QUERIES_AT_A_TIME))

        async def search_from(first: int) -> Sequence[Sequence[Found]]:
            return await self._read(
                lambda engine, abandoned: engine.search(
                    queries[first : first + step],
                    fields[first : first + step],
                    top_k,
                    ef_search=ef_search,
                    exact=exact,
                    condition=filter,
                    view=view,
                    tokens_of=tokens_of,
                    abandoned=abandoned,
                )
            )

        # Apart, on several threads: while one searches, another reads what it found.
        return await self._in_parts(search_from, range(0, len(queries), step))

    async def search_lexical(
        self,
        queries: Sequence[str],
        top_k: int,
        *,
        filter: Filter | None = None,
        view: View = View.FULL,
        tokens_of: str = "",
    ) -> list[Sequence[Found]]:
        """Return per query the passages that share most with its words, by BM25, best first.

        Titles count as text does, and more. Fewer than top_k where fewer share a word.
        """

        async def search_from(first: int) -> Sequence[Sequence[Found]]:
            return await self._read_store(
                lambda engine, abandoned: engine.search_lexical(
                    queries[first : first + LEXICAL_AT_A_TIME],
                    top_k,
                    condition=filter,
                    view=view,
                    tokens_of=tokens_of,
                    abandoned=abandoned,
                )
            )

        return await self._in_parts(search_from, range(0, len(queries), LEXICAL_AT_A_TIME))

    async def lacking_tokens(self, keys: Sequence[str], after: int | None) -> Untokenized:
        """Return the next passages, of a walk over all, that lack tokens under any of the keys.

        `after` is what the last step went through; None starts where an earlier walk ended.
        """
        return await self._read_store(lambda engine, _: engine.lacking_tokens(keys, after))

    async def keep_tokens(
        self, found: Untokenized, tokens: Mapping[str, Sequence[bytes | None]]
    ) -> None:
        """Keep tokens of passages that lacked them, and remember how far the walk has come."""
        await self._write(lambda engine: engine.keep_tokens(found, tokens))

    async def drop_other_tokens(self, keys: Sequence[str], after: int) -> int | None:
        """Drop some of what is kept under other keys; return where to go on, None at the end."""
        return await self._write(lambda engine: engine.drop_other_tokens(keys, after))

    async def settled(self) -> None:
        """Return once the index has caught up, and is compacted and saved where that is due."""
        await self.started()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.upkeep.wait_until_idle)

    async def close(self, *, deleted: bool = False) -> None:
        """Finish the writes, save the index, and let go; calls that come later are refused."""
        if not isinstance(self._refusal, DataLoss):
            self._refusal = (
                CollectionNotFound(self.spec.name)
                if deleted
                else Unavailable("the server is stopping")
            )
        if self._opening is not None:
            await self._opening.stop()
        await asyncio.get_running_loop().run_in_executor(
            None, partial(self.let_go, save=not deleted)
        )

    def let_go(self, *, save: bool) -> None:
        """Stop the threads and close the files; blocks. No call may come later."""
        if self._engine is not None and self._engine.recovered:
            self._engine.upkeep.stop()
        self._writer.shutdown(wait=True)
        if self._engine is not None:
            self._engine.close(save=save and not isinstance(self._refusal, DataLoss))

    async def _write(self, work: Callable[[Engine], Result]) -> Result:
        return await self._run(self._writer, Opening.recovered, work)

    async def _read(self, work: Callable[[Engine, Abandoned], Result]) -> Result:
        return await self._abandonable(Opening.recovered, work)

    async def _read_store(self, work: Callable[[Engine, Abandoned], Result]) -> Result:
        """Do what needs no vectors, and so need not wait for them after a start."""
        return await self._abandonable(Opening.upgraded, work)

    async def _in_parts(
        self, read_from: Callable[[int], Awaitable[Sequence[Result]]], starts: Sequence[int]
    ) -> list[Result]:
        """Return what is read from each start; few parts at a time leave threads to other calls."""
        free = asyncio.Semaphore(self._side_by_side)

        async def read(first: int) -> Sequence[Result]:
            async with free:
                return await read_from(first)

        parts = [asyncio.create_task(read(first)) for first in starts]
        try:
            return [each for part in await asyncio.gather(*parts) for each in part]
        finally:
            for part in parts:
                part.cancel()  # those that another's failure has made useless

    async def _abandonable(
        self, stage: Stage, work: Callable[[Engine, Abandoned], Result]
    ) -> Result:
        given_up = Event()
        try:
            return await self._run(
                self._readers, stage, lambda engine: work(engine, given_up.is_set)
            )
        except asyncio.CancelledError:
            given_up.set()
            raise

    async def _run(
        self, executor: Executor, stage: Stage, work: Callable[[Engine], Result]
    ) -> Result:
        self._require_open()
        assert self._engine is not None
        assert self._opening is not None
        try:
            await stage(self._opening)
        except DataLoss as error:
            raise self._damaged(error) from error
        except FinesieveError:
            self._require_open()  # that it was deleted says more than that its opening ended
            raise
        self._require_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                executor, partial(work, self._engine)
            )
        except DataLoss as error:
            raise self._damaged(error) from error

    def _require_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _damaged(self, error: DataLoss) -> FinesieveError:
        """Tell where it is damaged in the log alone; return what callers are told."""
        if self._refusal is None:
            _log.error("collection damaged", collection=self.spec.name, error=str(error))
            self._refusal = DataLoss(
                f"collection {self.spec.name!r} is damaged and is to be restored from a backup; "
                "the server's log says where",
                metadata={"collection": self.spec.name},
            )
        return self._refusal
