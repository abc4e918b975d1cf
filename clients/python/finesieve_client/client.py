"""Call a server and wait for its answers; what is asked, `calls` decides."""

import time
from collections.abc import Callable, Iterable, Iterator
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

Arguments = ParamSpec("Arguments")


def answered(
    build: Callable[Arguments, Call[Response]],
) -> "Callable[Concatenate[Client, Arguments], Response]":
    """Return the method that makes this call and returns its answer."""

    def method(client: "Client", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
        return client.call(build(*args, **kwargs))

    return describe(method, build)


class Client:
    """A connection to one server, for any number of threads.

    Each method is the RPC of that name, takes its fields as keywords and returns its response
    message. Every method takes `timeout_s`; without it the client's own counts, which streams do
    not have. Calls that may be repeated are, up to four times, as the server's pushback allows.
    Every failure is a `FinesieveError`; an argument that no message can hold is a ValueError, an
    option that there is not, and a string where several are meant, a TypeError.
    """

    create_collection = answered(corpus.create_collection)
    get_collection = answered(corpus.get_collection)
    list_collections = answered(corpus.list_collections)
    delete_collection = answered(corpus.delete_collection)
    upsert_passages = answered(corpus.upsert_passages)
    delete_passages = answered(corpus.delete_passages)
    get_passages = answered(corpus.get_passages)
    list_passages = answered(corpus.list_passages)
    retrieve = answered(ranking.retrieve)
    batch_retrieve = answered(ranking.batch_retrieve)
    rerank = answered(ranking.rerank)
    search = answered(ranking.search)
    embed = answered(ranking.embed)
    count_tokens = answered(ranking.count_tokens)
    list_models = answered(ranking.list_models)

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
        self._channel = connection.channel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; calls under way end with an error."""
        self._channel.close()

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return once the server is reachable and takes calls; raises DeadlineExceeded if not."""
        patience = readiness.Patience.of(self.target, timeout_s)
        watch = self._channel.unary_stream(
            readiness.WATCH_PATH,
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        while True:
            try:
                answers = watch(
                    HealthCheckRequest(),
                    timeout=patience.left_s(),
                    metadata=self._metadata,
                    wait_for_ready=True,
                )
                if any(map(readiness.is_ready, answers)):
                    answers.cancel()
                    return
            except grpc.RpcError as error:
                patience.check(error)
            time.sleep(readiness.PAUSE_S)

    def stream_upsert_passages(
        self,
        collection: str,
        batches: Iterable[Iterable[Passage]],
        *,
        replace_documents: bool = False,
        timeout_s: float | None = None,
    ) -> Iterator[StreamUpsertPassagesResponse]:
        """Send batches while earlier ones are worked on; yields the answer of each, in order.

        Each batch is stored whole or, where its answer has a failure, not at all. Nothing is sent
        before the first answer is asked for. `replace_documents`: each batch also removes what
        else its documents hold; a document that spans batches must not be loaded so.
        """
        message = corpus.stream_upsert_message(collection, replace_documents=replace_documents)
        source = Source(message, batches)
        return self._stream(contract.STREAM_UPSERT_PASSAGES, source, timeout_s)

    def stream_rerank(
        self, requests: Iterable[tuple[str, RerankRequest]], *, timeout_s: float | None = None
    ) -> Iterator[StreamRerankResponse]:
        """Rerank many times over one stream; answers carry the id given, in any order.

        `rerank_request` makes a request. Nothing is sent before the first answer is asked for.
        """
        source = Source(ranking.stream_rerank_message, requests)
        return self._stream(contract.STREAM_RERANK, source, timeout_s)

    def all_collections(self) -> Iterator[Collection]:
        """Yield every collection, by name."""
        for page in self._pages(corpus.list_collections()):
            yield from page.collections

    def all_passages(
        self,
        collection: str,
        *,
        filter: Condition | Filter | None = None,
        view: View = "full",
    ) -> Iterator[Passage]:
        """Yield every passage of a collection, or those that meet the filter, by id."""
        for page in self._pages(corpus.list_passages(collection, filter=filter, view=view)):
            yield from page.passages

    def call(self, call: Call[Response]) -> Response:
        """Make one call and return its answer."""
        rpc = self._channel.unary_unary(
            call.method.path,
            request_serializer=call.method.request.SerializeToString,
            response_deserializer=call.method.response.FromString,
        )
        timeout_s = self.timeout_s if call.timeout_s is None else call.timeout_s
        try:
            return rpc(call.request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of_call(error) from error

    def _pages(self, call: Call[Page]) -> Iterator[Page]:
        following: Call[Page] | None = call
        while following is not None:
            page = self.call(following)
            yield page
            following = following.page_after(page)

    def _stream(
        self,
        method: Method[Request, Response],
        source: Source[Any, Request],
        timeout_s: float | None,
    ) -> Iterator[Response]:
        rpc = self._channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        answers = rpc(iter(source), timeout=timeout_s, metadata=self._metadata)
        try:
            yield from answers
        except grpc.RpcError as error:
            raise error_of_call(error) from error
        finally:
            answers.cancel()
        source.check()
