"""Health and reflection: open to everybody at any time, so they do not pass the gate.

They are gRPC's own servicers. All that is done here is to keep bytes that are no message from
being answered with UNKNOWN.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from finesieve_server.errors import MalformedRequest
from finesieve_server.rpc.status import code_of, message_of, trailers_of
from finesieve_server.rpc.visit import Context, Handler, request_id_of

Request = TypeVar("Request", bound=Message)


class Probes:
    """Says whether each service serves, and which there are."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ["", *services]  # "" is the server as a whole
        self._health = health.aio.HealthServicer()
        self._reflection = reflection.aio.ReflectionServicer(
            [*services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        )

    async def say(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.ServingStatus
        for service in self._services:
            await self._health.set(service, status.SERVING if serving else status.NOT_SERVING)

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        check: Handler = grpc.unary_unary_rpc_method_handler(
            _one(self._health.Check),
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        watch: Handler = grpc.unary_stream_rpc_method_handler(
            _one(self._health.Watch),
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        reflect: Handler = grpc.stream_stream_rpc_method_handler(
            _many(self._reflection.ServerReflectionInfo),
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return [
            grpc.method_handlers_generic_handler(
                health.SERVICE_NAME, {"Check": check, "Watch": watch}
            ),
            grpc.method_handlers_generic_handler(
                reflection.SERVICE_NAME, {"ServerReflectionInfo": reflect}
            ),
        ]


def _one(
    behaviour: Callable[[health_pb2.HealthCheckRequest, Context], Awaitable[Any]],
) -> Callable[[bytes, Context], Awaitable[Any]]:
    async def serve(message: bytes, context: Context) -> Any:
        request = await _decoded(health_pb2.HealthCheckRequest, message, context)
        return await behaviour(request, context)

    return serve


def _many(
    behaviour: Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]],
) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[Any]]:
    async def serve(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            async for message in messages:
                yield await _decoded(reflection_pb2.ServerReflectionRequest, message, context)

        async for answer in behaviour(requests(), context):
            yield answer

    return serve


async def _decoded(request_type: type[Request], message: bytes, context: Context) -> Request:
    try:
        return request_type.FromString(message)
    except DecodeError as error:
        refusal = MalformedRequest(f"the {len(message)} bytes are no request: {error}")
        trailers = trailers_of(refusal, request_id_of(context))
        return await context.abort(code_of(refusal), message_of(refusal), trailers)
