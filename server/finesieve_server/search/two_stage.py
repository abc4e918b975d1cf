"""Both stages in one call, inside one deadline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from finesieve_server.index.records import Found, Passage, View
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.limits import Limits
from finesieve_server.search.ranking import Ranked, Usage
from finesieve_server.search.reranker import Reranker
from finesieve_server.search.retriever import RetrievalOptions, Retriever
from finesieve_server.search.texts import check_text


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to find where. `retrieval.top_k` candidates go on to the second stage, `rerank` says
    how they are ordered there (None: not at all), `top_n` come back."""

    collection: str
    text: str
    retrieval: RetrievalOptions
    rerank: RerankOptions | None
    top_n: int


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A passage, its place and score in the first stage, and what the second stage made of it."""

    passage: Passage
    retrieval_rank: int
    retrieval_score: float
    ranked: Ranked | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits, best first."""

    hits: list[SearchHit]
    partial: bool = False
    query_truncated: bool = False
    usage: Usage = Usage()


class TwoStage:
    """The coarse sieve, then the fine one."""

    def __init__(self, retriever: Retriever, reranker: Reranker, limits: Limits) -> None:
        self._retriever = retriever
        self._reranker = reranker
        self._limits = limits

    async def search(self, query: SearchQuery, call: Call) -> SearchResult:
        """Return the best hits. Raises what either stage raises."""
        check_text("query", query.text, self._limits.max_query_chars)
        if query.rerank is None:
            found = await self._retrieve(query, query.retrieval, call)
            return SearchResult(_unranked(found)[: query.top_n])
        # The second stage reads texts, however little of a passage the caller wants back.
        with_text = View.FULL if query.retrieval.view is View.ID else query.retrieval.view
        found = await self._retrieve(
            query,
            replace(query.retrieval, view=with_text),
            call,
            tokens_of=self._reranker.tokens_key(query.rerank),
        )
        candidates = [
            Candidate(each.passage.text, each.passage.title, each.score, each.tokens)
            for each in found
        ]
        ranking = await self._reranker.rank(query.text, candidates, query.rerank, call)
        hits = [
            SearchHit(
                found[each.index].passage, each.index + 1, found[each.index].score, ranked=each
            )
            for each in ranking.results[: query.top_n]
        ]
        return SearchResult(hits, ranking.partial, ranking.query_truncated, ranking.usage)

    async def _retrieve(
        self, query: SearchQuery, options: RetrievalOptions, call: Call, *, tokens_of: str = ""
    ) -> list[Found]:
        [found] = await self._retriever.retrieve(
            query.collection, [query.text], options, call, tokens_of=tokens_of
        )
        return found


def _unranked(found: Sequence[Found]) -> list[SearchHit]:
    return [
        SearchHit(each.passage, rank, each.score, ranked=None)
        for rank, each in enumerate(found, start=1)
    ]
