"""RerankService: the second stage alone."""

import time
from collections.abc import AsyncGenerator, AsyncIterator

from finesieve.v1 import rerank_pb2, results_pb2
from finesieve_server.rpc import answers, requests
from finesieve_server.rpc.streams import answered
from finesieve_server.rpc.visit import Visit
from finesieve_server.search.call import Call
from finesieve_server.search.limits import Limits
from finesieve_server.search.reranker import Reranker

# Requests of one stream that are scored at a time; the rest waits with its sender.
MAX_IN_FLIGHT = 8


class RerankService:
    """Reads requests for the reranker, and writes what it ranked."""

    def __init__(self, reranker: Reranker, limits: Limits) -> None:
        self._reranker = reranker
        self._limits = limits

    async def Rerank(
        self, request: rerank_pb2.RerankRequest, call: Call
    ) -> rerank_pb2.RerankResponse:
        started = time.perf_counter()
        options = requests.rerank_options(request.options, "options", self._limits)
        candidates = requests.candidates(request.documents, self._limits)
        ranking = await self._reranker.rank(request.query, candidates, options, call)
        return rerank_pb2.RerankResponse(
            results=await answers.Room().collect(
                answers.reranked(
                    ranking.results[: request.top_n or None],
                    request.documents,
                    return_documents=request.return_documents,
                )
            ),
            model=ranking.model,
            partial=ranking.partial,
            timings=answers.timings(call.times, time.perf_counter() - started),
            usage=answers.usage(ranking.usage),
            query_truncated=ranking.query_truncated,
            own_first_stage_weight=ranking.own_weight,
        )

    def StreamRerank(
        self, incoming: AsyncIterator[rerank_pb2.StreamRerankRequest], visit: Visit
    ) -> AsyncGenerator[rerank_pb2.StreamRerankResponse, None]:
        async def answer(
            message: rerank_pb2.StreamRerankRequest,
        ) -> rerank_pb2.StreamRerankResponse:
            outcome = await visit.answer_one(lambda call: self.Rerank(message.request, call))
            if isinstance(outcome, results_pb2.Failure):
                return rerank_pb2.StreamRerankResponse(
                    request_id=message.request_id, failure=outcome
                )
            return rerank_pb2.StreamRerankResponse(request_id=message.request_id, response=outcome)

        return answered(incoming, answer, width=MAX_IN_FLIGHT, in_order=False)
