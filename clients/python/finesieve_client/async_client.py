"""Call a server from asyncio; what is asked, `calls` decides."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from finesieve.v1.passages_pb2 import Collection, Filter, Passage
from finesieve.v1.rerank_pb2 import RerankRequest, StreamRerankResponse
from finesieve.v1.retrieval_pb2 import StreamUpsertPassagesResponse
from finesieve_client import contract, readiness
from finesieve_client.calls import corpus, ranking
from finesieve_client.calls.call import Call, describe
from finesieve_client.calls.source import Source
from finesieve_client.connection import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Connection, Tls
from finesieve_client.contract import Method, Page, Request, Response
from finesieve_client.errors import error_of_call
from finesieve_client.filters import Condition
from finesieve_client.options import View
from finesieve_client.stream_end import StreamEnd

Arguments = ParamSpec("Arguments")


def awaited(
    build: Callable[Arguments, Call[Response]],
) -> "Callable[Concatenate[AsyncClient, Arguments], Coroutine[Any, Any, Response]]":
    """Return the method that makes this call and awaits its answer."""

    async def method(
        client: "AsyncClient", /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Response:
        return await client.call(build(*args, **kwargs))

    return describe(method, build)


class AsyncClient:
    """What `Client` is, for asyncio. Make it inside the event loop that will use it."""

    create_collection = awaited(corpus.create_collection)
    get_collection = awaited(corpus.get_collection)
    list_collections = awaited(corpus.list_collections)
    delete_collection = awaited(corpus.delete_collection)
    upsert_passages = awaited(corpus.upsert_passages)
    delete_passages = awaited(corpus.delete_passages)
    get_passages = awaited(corpus.get_passages)
    list_passages = awaited(corpus.list_passages)
    retrieve = awaited(ranking.retrieve)
    batch_retrieve = awaited(ranking.batch_retrieve)
    rerank = awaited(ranking.rerank)
    search = awaited(ranking.search)
    embed = awaited(ranking.embed)
    count_tokens = awaited(ranking.count_tokens)
    list_models = awaited(ranking.list_models)

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: Tls | None = None,
        token: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Open a channel; nothing is sent before the first call."""
        connection = Connection(target, tls, token)
        self.target = target
        self.timeout_s = timeout_s
        self._metadata = connection.metadata()
        self._channel = connection.async_channel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way end with an error."""
        await self._channel.close()

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return once the server is reachable and takes calls; raises DeadlineExceeded if not."""
        patience = readiness.Patience.of(self.target, timeout_s)
        watch = self._channel.unary_stream(
            readiness.WATCH_PATH,
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        while True:
            answers = watch(
                HealthCheckRequest(),
                timeout=patience.left_s(),
                metadata=self._metadata,
                wait_for_ready=True,
            )
            try:
                async for answer in answers:
                    if readiness.is_ready(answer):
                        return
            except grpc.RpcError as error:
                patience.check(error)
            finally:
                answers.cancel()
            await asyncio.sleep(readiness.PAUSE_S)

    def stream_upsert_passages(
        self,
        collection: str,
        batches: Iterable[Iterable[Passage]] | AsyncIterable[Iterable[Passage]],
        *,
        replace_documents: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncIterator[StreamUpsertPassagesResponse]:
        """Send batches while earlier ones are worked on; yields the answer of each, in order.

        Each batch is stored whole or, where its answer has a failure, not at all. Nothing is sent
        before the first answer is asked for. `replace_documents`: each batch also removes what
        else its documents hold; a document that spans batches must not be loaded so.
        """
        message = corpus.stream_upsert_message(collection, replace_documents=replace_documents)
        source = Source(message, batches)
        return self._stream(contract.STREAM_UPSERT_PASSAGES, source, timeout_s)

    def stream_rerank(
        self,
        requests: Iterable[tuple[str, RerankRequest]] | AsyncIterable[tuple[str, RerankRequest]],
        *,
        timeout_s: float | None = None,
    ) -> AsyncIterator[StreamRerankResponse]:
        """Rerank many times over one stream; answers carry the id given, in any order.

        `rerank_request` makes a request. Nothing is sent before the first answer is asked for.
        """
        source = Source(ranking.stream_rerank_message, requests)
        return self._stream(contract.STREAM_RERANK, source, timeout_s)

    async def all_collections(self) -> AsyncIterator[Collection]:
        """Yield every collection, by name."""
        async for page in self._pages(corpus.list_collections()):
            for collection in page.collections:
                yield collection

    async def all_passages(
        self,
        collection: str,
        *,
        filter: Condition | Filter | None = None,
        view: View = "full",
    ) -> AsyncIterator[Passage]:
        """Yield every passage of a collection, or those that meet the filter, by id."""
        call = corpus.list_passages(collection, filter=filter, view=view)
        async for page in self._pages(call):
            for passage in page.passages:
                yield passage

    async def call(self, call: Call[Response]) -> Response:
        """Make one call and return its answer."""
        rpc = self._channel.unary_unary(
            call.method.path,
            request_serializer=call.method.request.SerializeToString,
            response_deserializer=call.method.response.FromString,
        )
        timeout_s = self.timeout_s if call.timeout_s is None else call.timeout_s
        try:
            return await rpc(call.request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of_call(error) from error

    async def _pages(self, call: Call[Page]) -> AsyncIterator[Page]:
        following: Call[Page] | None = call
        while following is not None:
            page = await self.call(following)
            yield page
            following = following.page_after(page)

    async def _stream(
        self,
        method: Method[Request, Response],
        source: Source[Any, Request],
        timeout_s: float | None,
    ) -> AsyncIterator[Response]:
        rpc = self._channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        answers = rpc(aiter(source), timeout=timeout_s, metadata=self._metadata)
        end = StreamEnd()
        answers.add_done_callback(end)
        try:
            async for answer in answers:
                yield answer
        except grpc.RpcError as raised:
            error = end.error(raised)
            if error is not None:
                raise error from raised
        finally:
            answers.cancel()
        source.check()
