"""Let every call through by one way: admit, read, run within its deadline, answer, log.

Services see requests and a Call, never gRPC's context; what goes wrong, in whatever way, leaves as
an error of errors.py.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from finesieve_server.errors import (
    DeadlineExceeded,
    FinesieveError,
    MalformedRequest,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
    status_of,
)
from finesieve_server.rpc.admission import Admission, Phase
from finesieve_server.rpc.answers import within_one_message
from finesieve_server.rpc.status import REQUEST_ID, code_of, message_of, trailers_of
from finesieve_server.rpc.visit import Context, Handler, TenantOf, Visit, one_tenant
from finesieve_server.rpc.waiting import cut_short, unless_cut_short, within
from finesieve_server.search.call import Call
from finesieve_server.telemetry import Metrics

# Refused callers are answered until none has come for so long, or at most for so long in all.
# Meanwhile the last answers leave this machine, which the end of the process could cut off.
_QUIET_S = 0.1
_LINGER_S = 1.0
# A call holds one of the places inside while its message, or its status, is on the way: at most for
# so long. A stream holds one also while its sender or its reader pauses.
_MESSAGE_S = 10.0
_PAUSE_S = 300.0

T = TypeVar("T")
Unary: TypeAlias = Callable[[Any, Call], Awaitable[Message]]
Stream: TypeAlias = Callable[[AsyncIterator[Any], Visit], AsyncGenerator[Message, None]]


class Gate(grpc.GenericRpcHandler):
    """Finds the behaviour of every method, and stands in front of it.

    A behaviour is `(request, call) -> answer`, or for a stream `(requests, visit) -> answers`.
    """

    def __init__(
        self,
        admission: Admission,
        metrics: Metrics,
        *,
        default_deadline_s: float,
        tenant_of: TenantOf = one_tenant,
        message_s: float = _MESSAGE_S,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._admission = admission
        self._metrics = metrics
        self._default_deadline_s = default_deadline_s
        self._tenant_of = tenant_of
        self._message_s = message_s
        self._pause_s = pause_s
        self._handlers: dict[str, Handler] = {}
        # What drain() cuts short: waiting for a stream's next request, and work that is overdue.
        self._readers: set[asyncio.Timeout] = set()
        self._workers: set[asyncio.Timeout] = set()

    def add(self, service: ServiceDescriptor, servicer: object) -> None:
        """Serve every method of the service by the servicer's method of that name."""
        for method in service.methods:
            assert method.client_streaming == method.server_streaming, method.full_name
            behaviour = getattr(servicer, method.name)
            make = self._stream if method.client_streaming else self._unary
            self._handlers[f"/{service.full_name}/{method.name}"] = make(method, behaviour)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        method = handler_call_details.method
        return self._handlers.get(method) or self._unknown(method)

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls and streams' further requests; return when all others are answered.

        What is not answered within `grace_s` is refused too. Refusing goes on after the return.
        """
        self._admission.phase = Phase.DRAINING
        cut_short(self._readers)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._admission.empty()
        cut_short(self._workers)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self._admission.quiet(_QUIET_S)

    def _unary(self, method: MethodDescriptor, behaviour: Unary) -> Handler:
        request_type = GetMessageClass(method.input_type)

        async def serve(_unread: object, context: Context) -> bytes:
            visit = self._visit(method.full_name, context)
            if visit.deadline is None:
                visit.deadline = visit.arrived + self._default_deadline_s

            async def work() -> bytes:
                reading = partial(_read, context)
                message = await within(self._message_s, reading, "no whole message came")
                request = _decoded(request_type, message, visit)
                call = visit.call()
                visit.times = call.times
                return _encoded(await behaviour(request, call), visit)

            return await self._let_through(visit, context, work)

        # As for a stream, so that refused calls are never read and half-sent ones are answered.
        return grpc.stream_unary_rpc_method_handler(serve)

    def _stream(self, method: MethodDescriptor, behaviour: Stream) -> Handler:
        request_type = GetMessageClass(method.input_type)

        async def serve(_unread: object, context: Context) -> None:
            visit = self._visit(method.full_name, context)

            async def work() -> None:
                requests = self._requests(request_type, context, visit)
                async with aclosing(behaviour(requests, visit)) as answers:
                    async for answer in answers:
                        sending = partial(context.write, _encoded(answer, visit))
                        await within(self._pause_s, sending, "an answer was not read")

            await self._let_through(visit, context, work)

        return grpc.stream_stream_rpc_method_handler(serve)

    def _unknown(self, method: str) -> Handler:
        async def serve(_unread: object, context: Context) -> None:
            visit = self._visit("unknown", context)
            await self._refuse(visit, context, Unimplemented(method))

        return grpc.stream_stream_rpc_method_handler(serve)

    def _visit(self, rpc: str, context: Context) -> Visit:
        visit = Visit.of(rpc, context, self._default_deadline_s)
        context.set_trailing_metadata(((REQUEST_ID, visit.request_id),))
        return visit

    async def _let_through(
        self, visit: Visit, context: Context, work: Callable[[], Awaitable[T]]
    ) -> T:
        """Return the work's result, or end the call with the status of what went wrong."""
        try:
            visit.tenant = self._tenant_of(context)
            self._admission.enter(visit.tenant)
        except FinesieveError as refusal:
            await self._refuse(visit, context, refusal)

        # Only when gRPC is done with a call is its answer sent, and may the server stop.
        def leave(_: object) -> None:
            self._admission.leave(visit.tenant, visit.elapsed_s)

        context.add_done_callback(leave)  # type: ignore[arg-type] # any callable
        if visit.is_late():
            await self._refuse(visit, context, DeadlineExceeded("expired on arrival"))
        try:
            outcome = await visit.attempt(
                lambda: unless_cut_short(work, self._workers), visit.deadline
            )
        except asyncio.CancelledError:
            self._finish(visit, "DEADLINE_EXCEEDED" if visit.is_late() else "CANCELLED", "")
            raise
        if isinstance(outcome, FinesieveError):
            await self._refuse(visit, context, outcome)
        self._finish(visit, "OK", "")
        return outcome

    async def _refuse(self, visit: Visit, context: Context, error: FinesieveError) -> NoReturn:
        status = status_of(error)
        self._finish(visit, code_of(error).name, status.reason)
        if isinstance(error, ResourceExhausted | DeadlineExceeded):
            self._metrics.refusals.labels(status.reason).inc()
        trailers = trailers_of(error, visit.request_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._message_s):
                await context.abort(code_of(error), message_of(error), trailers)
        # Behind an answer that nobody reads, no status arrives. This is how gRPC lets go of a call.
        raise asyncio.CancelledError

    def _finish(self, visit: Visit, status: str, reason: str) -> None:
        self._metrics.calls.labels(visit.rpc, status).inc()
        self._metrics.call_seconds.labels(visit.rpc).observe(visit.elapsed_s)
        visit.log_end(status, reason)

    async def _requests(
        self, request_type: type[Message], context: Context, visit: Visit
    ) -> AsyncIterator[Message]:
        """Give a stream's requests. Raises MalformedRequest, and Unavailable once draining."""
        while (message := await self._next_message(context)) is not grpc.aio.EOF:
            yield _decoded(request_type, message, visit)

    async def _next_message(self, context: Context) -> Any:
        if self._admission.phase is Phase.DRAINING:
            raise Unavailable("the server is draining")
        coming = partial(within, self._pause_s, partial(_read, context), "no request came")
        return await unless_cut_short(coming, self._readers)


async def _read(context: Context) -> Any:
    """Return the next message's bytes, or EOF."""
    # Where a read is cancelled, grpcio 1.85 never frees what it made for it, 80 bytes
    # (grpc/grpc#43360). Shielded, it ends by itself, with its call.
    return await asyncio.shield(context.read())


def _decoded(request_type: type[Message], message: Any, visit: Visit) -> Message:
    if message is grpc.aio.EOF:
        raise MalformedRequest("the call carries no message")
    visit.requests += 1
    visit.request_bytes += len(message)
    try:
        return request_type.FromString(message)
    except DecodeError as error:
        raise MalformedRequest(
            f"the {len(message)} bytes are no {request_type.DESCRIPTOR.full_name}: {error}"
        ) from error


def _encoded(answer: Message, visit: Visit) -> bytes:
    message = within_one_message(answer)
    visit.answers += 1
    visit.answer_bytes += len(message)
    return message
