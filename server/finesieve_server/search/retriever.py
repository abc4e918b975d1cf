"""Find the passages that answer a query: by its embedding, by its words, or by both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

Ranking = list[Found]  # best first


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

    `ef_search` 0 is the collection's own; it and `exact` concern embeddings alone.
    """

    top_k: int
    mode: Mode = Mode.DENSE
    ef_search: int = 0
    exact: bool = False
    filter: Filter | None = None
    view: View = View.FULL


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
        tokens_of: str = "",
    ) -> list[Ranking]:
        """Return each query's best passages, best first, with the tokens kept under a key.

        `paths` is where in its request each query stands, such as "queries[3].", for errors.
        Raises CollectionNotFound; FailedPrecondition where a text is to be embedded and the
        collection's model is not here; InvalidArgument for what cannot be one of its queries.
        """
        several = options.mode is Mode.HYBRID
        depth = max(options.top_k, FUSED_DEPTH) if several else options.top_k
        rankings = await self._rankings(
            collection, queries, options, call, paths=paths, tokens_of=tokens_of, depth=depth
        )
        return [fuse(each, options.top_k) for each in rankings]

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
        """Return the best passages for all queries in one ranking; otherwise as above."""
        rankings = await self._rankings(
            collection,
            queries,
            options,
            call,
            paths=paths,
            tokens_of=tokens_of,
            depth=max(options.top_k, FUSED_DEPTH),
        )
        return fuse([ranking for each in rankings for ranking in each], options.top_k)

    async def _rankings(
        self,
        collection: str,
        queries: Sequence[Query],
        options: RetrievalOptions,
        call: Call,
        *,
        paths: Sequence[str],
        tokens_of: str,
        depth: int,
    ) -> list[list[Ranking]]:
        """Return for each query one ranking, or two where the mode is HYBRID."""
        target = await self._catalog.get(collection)
        self._check(queries, paths, options.mode)
        by: list[list[Ranking]] = []
        if options.mode is not Mode.LEXICAL:
            by.append(await self._dense(target, queries, paths, options, call, tokens_of, depth))
        if options.mode is not Mode.DENSE:
            with call.times.measure("retrieve"):
                by.append(
                    await target.search_lexical(
                        [query.words or query.text for query in queries],
                        depth,
                        filter=options.filter,
                        view=options.view,
                        tokens_of=tokens_of,
                    )
                )
        return [list(rankings) for rankings in zip(*by, strict=True)]

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

    async def _dense(
        self,
        target: Collection,
        queries: Sequence[Query],
        paths: Sequence[str],
        options: RetrievalOptions,
        call: Call,
        tokens_of: str,
        depth: int,
    ) -> list[Ranking]:
        vectors = await self._vectors(target.spec, queries, call)
        with call.times.measure("retrieve"):
            return await target.search(
                vectors,
                depth,
                ef_search=options.ef_search,
                exact=options.exact,
                filter=options.filter,
                view=options.view,
                tokens_of=tokens_of,
                fields=[f"{path}embedding" for path in paths],
            )

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
