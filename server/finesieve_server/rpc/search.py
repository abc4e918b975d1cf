"""SearchService: both stages in one call."""

import time
from dataclasses import replace

from finesieve.v1 import search_pb2
from finesieve_server.errors import InvalidArgument
from finesieve_server.rpc import answers, requests
from finesieve_server.search.call import Call
from finesieve_server.search.limits import Limits
from finesieve_server.search.retriever import Query
from finesieve_server.search.two_stage import SearchQuery, TwoStage

DEFAULT_RETRIEVE_K = 100
DEFAULT_TOP_N = 10
MAX_RETRIEVAL_QUERIES = 32


class SearchService:
    """Reads requests for the two stages, and writes what they found."""

    def __init__(self, two_stage: TwoStage, limits: Limits) -> None:
        self._two_stage = two_stage
        self._limits = limits

    async def Search(
        self, request: search_pb2.SearchRequest, call: Call
    ) -> search_pb2.SearchResponse:
        started = time.perf_counter()
        query = self._query(request)
        result = await self._two_stage.search(query, call)
        return search_pb2.SearchResponse(
            hits=await answers.Room().collect(answers.searched(result.hits, query.retrieval.view)),
            partial=result.partial,
            timings=answers.timings(call.times, time.perf_counter() - started),
            usage=answers.usage(result.usage),
            query_truncated=result.query_truncated,
        )

    def _query(self, request: search_pb2.SearchRequest) -> SearchQuery:
        limit = self._limits.max_top_k
        retrieve_k = requests.within("retrieve_k", request.retrieve_k, DEFAULT_RETRIEVE_K, 1, limit)
        default_top_n = min(DEFAULT_TOP_N, retrieve_k)
        top_n = requests.within("top_n", request.top_n, default_top_n, 1, limit)
        if retrieve_k < top_n:
            raise InvalidArgument(
                "retrieve_k", f"is {retrieve_k}, less than top_n, which is {top_n}"
            )
        rerank = requests.rerank_options(request.rerank, "rerank", self._limits)
        return SearchQuery(
            collection=requests.collection_name(request.collection),
            text=request.query,
            retrieval=requests.retrieval_options(
                request.retrieval,
                "retrieval",
                top_k=retrieve_k,
                filter_message=request.filter if request.HasField("filter") else None,
                view=requests.view(request.view),
                limits=self._limits,
            ),
            rerank=None if request.skip_rerank else rerank,
            top_n=top_n,
            context=requests.context(request.context, self._limits, answers.MAX_ANSWER_BYTES),
            relevance_weight=requests.relevance_weight(request),
            retrieval_queries=self._retrieval_queries(request),
        )

    def _retrieval_queries(self, request: search_pb2.SearchRequest) -> list[Query]:
        messages = request.retrieval_queries
        if not messages:
            return []
        requests.check_count("retrieval_queries", messages, MAX_RETRIEVAL_QUERIES)
        paths = [f"retrieval_queries[{at}]" for at in range(len(messages))]
        queries = map(requests.query, messages, paths)
        return [
            query if query.embedding is None or query.words else replace(query, words=request.query)
            for query in queries
        ]
