"""What is known of one call from its arrival to its log line. Text never goes into the log."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from finesieve.v1 import results_pb2
from finesieve_server.errors import DeadlineExceeded, FinesieveError, Internal
from finesieve_server.rpc.answers import within_one_message
from finesieve_server.rpc.status import REQUEST_ID, failure_of
from finesieve_server.search.call import Call
from finesieve_server.telemetry import StageTimes

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
# Names whose call it is, by what nobody can forge: a verified credential. Raises a FinesieveError
# to refuse the call.
TenantOf: TypeAlias = Callable[[Context], str]
Answer = TypeVar("Answer", bound=Message)
T = TypeVar("T")

# Whose call a server of ours passes on; see `passed_on`.
TENANT = "x-finesieve-tenant-bin"
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Visit:
    """One call. `deadline` is a time.monotonic() instant, None where a stream was given none."""

    rpc: str
    request_id: str
    arrived: float
    deadline: float | None
    default_deadline_s: float
    tenant: str = "default"
    requests: int = 0
    request_bytes: int = 0
    answers: int = 0
    answer_bytes: int = 0
    times: StageTimes = field(default_factory=StageTimes)

    @classmethod
    def of(cls, rpc: str, context: Context, default_deadline_s: float) -> "Visit":
        arrived = time.monotonic()
        remaining_s: float | None = context.time_remaining()
        deadline = None if remaining_s is None else arrived + remaining_s
        return cls(rpc, request_id_of(context), arrived, deadline, default_deadline_s)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.arrived

    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def call(self) -> Call:
        """Return what the stages get to know, for one request that arrives now."""
        default = time.monotonic() + self.default_deadline_s
        deadline = default if self.deadline is None else self.deadline
        return Call(deadline, tenant=self.tenant, request_id=self.request_id)

    async def answer_one(
        self, answer: Callable[[Call], Awaitable[Answer]]
    ) -> Answer | results_pb2.Failure:
        """Return the answer to one request of a stream, or its failure: the stream goes on."""
        call = self.call()

        async def work() -> Answer:
            made = await answer(call)
            within_one_message(made)
            return made

        outcome = await self.attempt(work, call.deadline)
        for stage in fields(StageTimes):
            total = getattr(self.times, stage.name) + getattr(call.times, stage.name)
            setattr(self.times, stage.name, total)
        return failure_of(outcome) if isinstance(outcome, FinesieveError) else outcome

    async def attempt(
        self, work: Callable[[], Awaitable[T]], deadline: float | None
    ) -> T | FinesieveError:
        """Return what the work gives within the deadline, or the error that the caller is told.

        Passes on the call's own cancellation. A CancelledError that nobody asked for would leave
        the caller waiting, so it counts as a bug, like everything else that is not ours.
        """
        remaining_s = None if deadline is None else deadline - time.monotonic()
        timeout = asyncio.timeout(remaining_s)
        try:
            async with timeout:
                return await work()
        except FinesieveError as error:
            return error
        except TimeoutError as error:
            if timeout.expired():
                return DeadlineExceeded("the deadline came before the answer")
            return self._unexpected(error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self._unexpected(error)
        except Exception as error:  # noqa: BLE001 - the caller gets fixed text, the log the rest
            return self._unexpected(error)

    def _unexpected(self, error: BaseException) -> Internal:
        _log.error("call failed", request_id=self.request_id, rpc=self.rpc, exc_info=error)
        return Internal(self.request_id)

    def log_end(self, status: str, reason: str) -> None:
        times = self.times
        _log.info(
            "call",
            request_id=self.request_id,
            rpc=self.rpc,
            tenant=self.tenant,
            status=status,
            reason=reason,
            requests=self.requests,
            request_bytes=self.request_bytes,
            answers=self.answers,
            answer_bytes=self.answer_bytes,
            total_us=round(self.elapsed_s * 1e6),
            tokenize_us=round(times.tokenize_s * 1e6),
            queue_us=round(times.queue_s * 1e6),
            embed_us=round(times.embed_s * 1e6),
            retrieve_us=round(times.retrieve_s * 1e6),
            rerank_us=round(times.rerank_s * 1e6),
        )


def one_tenant(_: Context) -> str:
    """Return the same for every call: without credentials nobody is known apart."""
    return "default"


def passed_on(context: Context) -> str:
    """Return the tenant that a server of ours names: one that showed a certificate we trust."""
    if context.peer_identities():
        for key, value in context.invocation_metadata() or ():
            if key == TENANT and isinstance(value, bytes):
                return value.decode("utf-8", "replace")
    return one_tenant(context)


def request_id_of(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str) and _SANE_REQUEST_ID.fullmatch(value):
            return value
    return secrets.token_hex(8)
