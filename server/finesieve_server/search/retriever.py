"""Find the passages nearest to a query: embed it where it is a text, ask the index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finesieve_server.batching.plan import Priority
from finesieve_server.index.distances import comparable
from finesieve_server.index.filters import Filter
from finesieve_server.index.records import CollectionSpec, Found, View
from finesieve_server.search.call import Call
from finesieve_server.search.embedder import Embedder, Role
from finesieve_server.search.index import Catalog
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.texts import check_text

# A query as text, or as the vector that its caller computed.
Query = str | NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How many, how thoroughly, among which, and how much of each. `ef_search` 0: the default."""

    top_k: int
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
    ) -> list[list[Found]]:
        """Return each query's nearest passages, best first, with the tokens kept under a key.

        `paths` is where in its request each query stands, such as "queries[3].", for errors.
        Raises CollectionNotFound; FailedPrecondition where a text comes and the collection's model
        is not here; InvalidArgument for a text or a vector that cannot be one of its queries.
        """
        target = await self._catalog.get(collection)
        fields, given = [], []
        for query, path in zip(queries, paths, strict=True):
            if isinstance(query, str):
                check_text(f"{path}text", query, self._limits.max_query_chars)
            else:
                fields.append(f"{path}embedding")
                given.append(query)
        # All at once, and before any text costs an embedding.
        comparable(given, fields, target.spec.dimension, target.spec.distance)
        vectors = await self._vectors(target.spec, queries, call)
        with call.times.measure("retrieve"):
            return await target.search(
                vectors,
                options.top_k,
                ef_search=options.ef_search,
                exact=options.exact,
                filter=options.filter,
                view=options.view,
                tokens_of=tokens_of,
            )

    async def _vectors(
        self, spec: CollectionSpec, queries: Sequence[Query], call: Call
    ) -> NDArray[np.float32]:
        """Return one row a query, (queries, dimension); texts are embedded together."""
        texts = [query for query in queries if isinstance(query, str)]
        embedded: Iterator[NDArray[np.float32]] = iter(())
        if texts:
            model = self._models.encoder_of(spec)
            answer = await self._embedder.encode(
                model, texts, Role.QUERY, Priority.INTERACTIVE, call
            )
            embedded = iter(answer.vectors)
        return np.stack([next(embedded) if isinstance(query, str) else query for query in queries])
