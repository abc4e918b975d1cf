"""EmbeddingService: the bi-encoder alone, and its tokenizer."""

import time

from finesieve.v1 import embedding_pb2
from finesieve_server.rpc import answers, requests
from finesieve_server.rpc.vectors import embedding_of
from finesieve_server.search.call import Call
from finesieve_server.search.embedder import Embedder
from finesieve_server.search.limits import Limits


class EmbeddingService:
    """Reads texts for the embedder, and writes their vectors."""

    def __init__(self, embedder: Embedder, limits: Limits) -> None:
        self._embedder = embedder
        self._limits = limits

    async def Embed(
        self, request: embedding_pb2.EmbedRequest, call: Call
    ) -> embedding_pb2.EmbedResponse:
        started = time.perf_counter()
        requests.check_count("texts", request.texts, self._limits.max_texts)
        embedded = await self._embedder.embed(
            request.texts, requests.role(request.role), call, model=request.model
        )
        return embedding_pb2.EmbedResponse(
            embeddings=[embedding_of(vector) for vector in embedded.vectors],
            model=embedded.model,
            tokens=embedded.tokens,
            truncated=embedded.truncated,
            timings=answers.timings(call.times, time.perf_counter() - started),
        )

    async def CountTokens(
        self, request: embedding_pb2.CountTokensRequest, call: Call
    ) -> embedding_pb2.CountTokensResponse:
        requests.check_count("texts", request.texts, self._limits.max_texts)
        counted = await self._embedder.count(
            request.texts, requests.role(request.role), call, model=request.model
        )
        return embedding_pb2.CountTokensResponse(
            tokens=counted.tokens,
            added_tokens=counted.added,
            max_tokens=counted.window,
            model=counted.model,
        )
