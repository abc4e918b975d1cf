"""A client of nobody's making: bytes to a path, bytes or a status back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

Answer = TypeVar("Answer", bound=Message)

_DETAILS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.RetryInfo,
        error_details_pb2.RequestInfo,
    )
}


@dataclass(frozen=True)
class Outcome:
    """How a call ended: its status, what its details say, and the answer where it was OK."""

    code: grpc.StatusCode
    message: str = ""
    answer: bytes = b""
    trailers: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.code is grpc.StatusCode.OK

    def detail(self, name: str) -> Any:
        """Return the detail of that google.rpc type, or None."""
        status = status_pb2.Status.FromString(self.trailers.get("grpc-status-details-bin", b""))
        for packed in status.details:
            kind = packed.type_url.rpartition("/")[2]
            if kind == f"google.rpc.{name}":
                return _DETAILS[kind].FromString(packed.value)
        return None

    @property
    def reason(self) -> str:
        info = self.detail("ErrorInfo")
        return info.reason if info is not None and info.domain == "finesieve.dev" else ""

    @property
    def fields(self) -> list[str]:
        bad = self.detail("BadRequest")
        return [violation.field for violation in bad.field_violations] if bad is not None else []


class Wire:
    """A channel that takes methods by their path and messages as bytes."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", 4 * 1024 * 1024),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_retries", 0),
            ],
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._channel.close()

    def start(self, path: str, request: Message | bytes, **options: Any) -> Any:
        """Start a unary call and return it."""
        content = request if isinstance(request, bytes) else request.SerializeToString()
        unary: Any = self._channel.unary_unary(path)
        return unary(content, **options)

    async def call(self, path: str, request: Message | bytes, **options: Any) -> Outcome:
        """Return how a unary call ended."""
        return await outcome_of(self.start(path, request, **options))

    async def ask(
        self, path: str, request: Message, answer: type[Answer], **options: Any
    ) -> Answer:
        """Return the answer of a unary call that has to succeed."""
        outcome = await self.call(path, request, **options)
        assert outcome.ok, outcome
        return answer.FromString(outcome.answer)

    def stream(self, path: str, **options: Any) -> Any:
        """Start a stream and return it; it takes and gives bytes."""
        return self._channel.stream_stream(path)(**options)


async def outcome_of(call: Any) -> Outcome:
    """Return how a started unary call ends."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        return Outcome(error.code(), error.details() or "", trailers=trailers)
    trailers = dict(await call.trailing_metadata() or ())
    return Outcome(grpc.StatusCode.OK, answer=answer, trailers=trailers)


async def end_of(stream: Any) -> Outcome:
    """Return how a stream ends, having read what is left of it."""
    while await _read(stream) is not None:
        pass
    trailers = dict(await stream.trailing_metadata() or ())
    return Outcome(await stream.code(), await stream.details() or "", trailers=trailers)


async def _read(stream: Any) -> bytes | None:
    try:
        message = await stream.read()
    except grpc.aio.AioRpcError:
        return None
    return None if message is grpc.aio.EOF else message


@asynccontextmanager
async def serving(*handlers: grpc.GenericRpcHandler) -> AsyncIterator[Wire]:
    """Serve handlers on a port of loopback."""
    server = grpc.aio.server(handlers=list(handlers), options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Wire(f"127.0.0.1:{port}") as wire:
        yield wire
    await server.stop(None)
