"""Reach the rerank replicas: whichever is ready, and another one where that fails.

gRPC resolves the target, keeps a connection to each address of it, gives calls to them in turn, and
leaves out those whose health is not SERVING. Scoring changes nothing, so it may be asked twice.
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass
from itertools import count
from typing import NoReturn

import grpc
import structlog

from finesieve.v1 import rerank_pb2, rerank_pb2_grpc
from finesieve_server.errors import (
    DeadlineExceeded,
    FinesieveError,
    Internal,
    Overloaded,
    Unavailable,
)
from finesieve_server.rpc.retry_budget import RetryBudget
from finesieve_server.rpc.status import REQUEST_ID, Metadata, error_from
from finesieve_server.rpc.visit import TENANT
from finesieve_server.search.call import Call
from finesieve_server.telemetry import Metrics

SERVICE = rerank_pb2.DESCRIPTOR.services_by_name["RerankService"].full_name

# What an answer needs on its way back, and to be read.
_WAY_BACK_S = 0.005
# Between the first tries gRPC has time to notice that a replica is gone.
_TRIES = 4
_FIRST_PAUSE_S = 0.01
# A caller who finds no replica may try again when some have been started or reached.
_RETRY_S = 1.0

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": SERVICE},
}
_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_send_message_length", -1),  # the replica says what is too long
    # A replica that vanished without a word is noticed within 15 s. (grpcio 1.85 waits for the ack
    # of a keepalive ping by the timeout of all pings, and not by keepalive_timeout_ms.)
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReplicaTls:
    """PEM bytes: whom we trust, and what shows a replica who we are."""

    authorities: bytes
    certificate: bytes | None = None
    key: bytes | None = None


class Replicas:
    """All servers behind one target that serve RerankService."""

    def __init__(self, target: str, metrics: Metrics, tls: ReplicaTls | None = None) -> None:
        """Start to connect; needs a running loop."""
        self._channel = (
            grpc.aio.insecure_channel(target, _OPTIONS)
            if tls is None
            else grpc.aio.secure_channel(
                target,
                grpc.ssl_channel_credentials(tls.authorities, tls.key, tls.certificate),
                _OPTIONS,
            )
        )
        self._rerank = rerank_pb2_grpc.RerankServiceStub(self._channel).Rerank
        self._metrics = metrics
        self._budget = RetryBudget()
        self._reachable = True
        self._channel.get_state(try_to_connect=True)

    async def close(self) -> None:
        await self._channel.close()

    async def rerank(
        self, request: rerank_pb2.RerankRequest, call: Call, by: float
    ) -> rerank_pb2.RerankResponse:
        """Return a replica's answer, there by time.monotonic() `by`.

        Raises Unavailable where none can be reached, DeadlineExceeded, and what a replica says:
        Overloaded only where another try is not worth it or has said so too.
        """
        for tried in count(1):
            try:
                return await self._try(request, call, by)
            except (Unavailable, Overloaded) as error:
                pause_s = random.uniform(0.0, _FIRST_PAUSE_S * 2**tried)  # noqa: S311
                if tried == _TRIES or time.monotonic() + pause_s >= by - _WAY_BACK_S:
                    raise
                if isinstance(error, Overloaded) and not self._budget.spend():
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError("count never ends")

    async def _try(
        self, request: rerank_pb2.RerankRequest, call: Call, by: float
    ) -> rerank_pb2.RerankResponse:
        started = time.monotonic()
        status = grpc.StatusCode.CANCELLED
        try:
            response = await self._rerank(
                request, timeout=max(0.0, by - _WAY_BACK_S - started), metadata=_metadata(call)
            )
            status = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            status = error.code()
            self._raise(error, call)
        finally:
            self._metrics.replica_calls.labels(status.name).inc()
            self._metrics.replica_call_seconds.observe(time.monotonic() - started)
        self._budget.earn()
        if not self._reachable:
            self._reachable = True
            _log.info("rerank replicas reached again")
        return response

    def _raise(self, error: grpc.aio.AioRpcError, call: Call) -> NoReturn:
        """Raise what a replica said, or what becomes of a call that none has answered."""
        said = error_from(error)
        if isinstance(said, Internal):
            raise Internal(call.request_id) from error
        if said is not None:
            raise _with_retry(said) from error
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise DeadlineExceeded("the deadline came before a rerank replica's answer") from error
        if self._reachable:  # once, not for each call of an outage
            self._reachable = False
            _log.warning(
                "rerank replica not reached", code=error.code().name, detail=error.details()
            )
        raise Unavailable("no rerank replica can be reached", retry_after_s=_RETRY_S) from error


def _with_retry(said: FinesieveError) -> FinesieveError:
    if isinstance(said, Unavailable) and said.retry_after_s is None:
        said.retry_after_s = _RETRY_S
    return said


def _metadata(call: Call) -> Metadata:
    """Return what a replica is told of a call besides its message: which it is, and whose."""
    return ((REQUEST_ID, call.request_id), (TENANT, call.tenant.encode()))
