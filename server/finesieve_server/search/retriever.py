"""Find the passages that answer a query: by its embedding, by its words, or by both."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from finesieve_server.batching.plan import Priority
from finesieve_server.errors import InvalidArgument
from finesieve_server.index.filters import Filter
from finesieve_server.index.records import CollectionSpec, Embedding, Found, View
from finesieve_server.search.call import Call
from finesieve_server.search.embedder import Embedder, Role
from finesieve_server.search.fusion import fuse
from finesieve_server.search.index import Catalog, Collection
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.texts import check_text

# Candidates of each ranking at least, where several are fused; the ten best of deeper ones were
# worse (benchmarks/hybrid.py).
FUSED_DEPTH = 10
# Passages that are read while they are found. More are found first, by id, and read where the
# answer has room for them.
READ_AT_ONCE = 100

Ranking = Sequence[Found]  # best first


class Mode(Enum):
    """By what passages are found."""

    DENSE = "dense"  # near embeddings
    LEXICAL = "lexical"  # shared words
    HYBRID = "hybrid"  # both, fused


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: a text, or the embedding that its caller computed.

    Lexical search reads `words`, or else the text.
    """

    text: str = ""
    embedding: Embedding | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How many, by what, how thoroughly, among which, and how much of each.

    `ef_search` 0 is the collection's own; it and `exact` concern embeddings alone. Retrieval alone
    gives no more than about `max_bytes` back; what goes on to a second stage is not bounded.
    """

    top_k: int
    mode: Mode = Mode.DENSE
    ef_search: int = 0
    exact: bool = False
    filter: Filter | None = None
    view: View = View.FULL
    max_bytes: int | None = None


class Retriever:
    """The first stage."""

    def __init__(
        self, catalog: Catalog, models: Models, embedder: Embedder, limits: Limits
    ) -> None:
        self._catalog = catalog
        self._models = models
        self._embedder = embedder
        self._limits = limits

    async def retrieve(
        self,
        collection: str,
        queries: Sequence[Query],
        options: RetrievalOptions,
        call: Call,
        *,
        paths: Sequence[str] = ("",),
    ) -> Sequence[Ranking]:
        """Return each query's best passages, best first.

        `paths` is where in its request each query stands, such as "queries[3].", for errors.
        Raises CollectionNotFound; FailedPrecondition where a text is to be embedded and the
        collection's model is not here; InvalidArgument for what cannot be one of its queries;
        AnswerTooLarge.
        """
        target = await self._catalog.get(collection)
        self._check(queries, paths, options.mode)
        several = options.mode is Mode.HYBRID
        depth = max(options.top_k, FUSED_DEPTH) if several else options.top_k
        if not several and len(queries) * depth <= READ_AT_ONCE:
            rankings = await self._rankings(target, queries, paths, depth, options, call)
            return [ranking for [ranking] in rankings]
        by_id = replace(options, view=View.ID)
        rankings = await self._rankings(target, queries, paths, depth, by_id, call)
        return await _read(target, [fuse(each, options.top_k) for each in rankings], options, call)

    async def retrieve_together(
        self,
        collection: str,
        queries: Sequence[Query],
        options: RetrievalOptions,
        call: Call,
        *,
        paths: Sequence[str],
        tokens_of: str = "",
    ) -> Ranking:
        """Return the best passages for all queries in one ranking, with tokens kept under a key."""
        target = await self._catalog.get(collection)
        self._check(queries, paths, options.mode)
        if len(queries) == 1 and options.mode is not Mode.HYBRID:
            [[ranking]] = await self._rankings(
                target, queries, paths, options.top_k, options, call, tokens_of
            )
            return ranking
        depth = max(options.top_k, FUSED_DEPTH)
        by_id = replace(options, view=View.ID)
        rankings = await self._rankings(target, queries, paths, depth, by_id, call)
        found = fuse([ranking for each in rankings for ranking in each], options.top_k)
        [ranking] = await _read(target, [found], options, call, tokens_of)
        return ranking

    async def _rankings(
        self,
        target: Collection,
        queries: Sequence[Query],
        paths: Sequence[str],
        depth: int,
        options: RetrievalOptions,
        call: Call,
        tokens_of: str = "",
    ) -> list[list[Ranking]]:
        """Return for each query one ranking, or two where the mode is HYBRID."""
        by: list[Coroutine[None, None, Sequence[Ranking]]] = []
        if options.mode is not Mode.LEXICAL:
            by.append(
                target.search(
                    await self._vectors(target.spec, queries, call),
                    depth,
                    ef_search=options.ef_search,
                    exact=options.exact,
                    filter=options.filter,
                    view=options.view,
                    tokens_of=tokens_of,
                    fields=[f"{path}embedding" for path in paths],
                )
            )
        if options.mode is not Mode.DENSE:
            by.append(
                target.search_lexical(
                    [query.words or query.text for query in queries],
                    depth,
                    filter=options.filter,
                    view=options.view,
                    tokens_of=tokens_of,
                )
            )
        with call.times.measure("retrieve"):
            return [list(rankings) for rankings in zip(*await _side_by_side(by), strict=True)]

    def _check(self, queries: Sequence[Query], paths: Sequence[str], mode: Mode) -> None:
        """Refuse texts that cannot be, before any costs an embedding.

        Embeddings are checked where they are compared, on the index's threads.
        """
        for query, path in zip(queries, paths, strict=True):
            if query.embedding is None:
                check_text(f"{path}text", query.text, self._limits.max_query_chars)
            elif mode is not Mode.DENSE and not query.words:
                raise InvalidArgument(
                    f"{path}words",
                    f"is missing; mode {mode.value} needs more than an embedding",
                )
            if query.words:
                check_text(f"{path}words", query.words, self._limits.max_query_chars)

    async def _vectors(
        self, spec: CollectionSpec, queries: Sequence[Query], call: Call
    ) -> list[Embedding]:
        """Return one a query, as it was given or made; texts are embedded together."""
        texts = [query.text for query in queries if query.embedding is None]
        embedded: Iterator[Embedding] = iter(())
        if texts:
            model = self._models.encoder_of(spec)
            answer = await self._embedder.encode(
                model, texts, Role.QUERY, Priority.INTERACTIVE, call
            )
            embedded = iter(answer.vectors)
        return [next(embedded) if query.embedding is None else query.embedding for query in queries]


async def _read(
    target: Collection,
    found: Sequence[Ranking],
    options: RetrievalOptions,
    call: Call,
    tokens_of: str = "",
) -> Sequence[Ranking]:
    """Return what was found by id alone as it was asked for."""
    if options.view is View.ID and not tokens_of:
        return found
    with call.times.measure("retrieve"):
        return await target.read(
            found, options.view, tokens_of=tokens_of, max_bytes=options.max_bytes
        )


async def _side_by_side(
    searches: Sequence[Coroutine[None, None, Sequence[Ranking]]],
) -> Sequence[Sequence[Ranking]]:
    tasks = [asyncio.create_task(each) for each in searches]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()  # where one failed, nobody waits for the other
