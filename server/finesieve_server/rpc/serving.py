"""Open the port, say through health when calls may come, and drain without losing one."""

import asyncio
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from finesieve.v1 import (
    embedding_pb2,
    models_pb2,
    rerank_pb2,
    retrieval_pb2,
    search_pb2,
)
from finesieve_server.errors import Unavailable
from finesieve_server.rpc.admission import Admission, Phase
from finesieve_server.rpc.embedding import EmbeddingService
from finesieve_server.rpc.gate import Gate
from finesieve_server.rpc.models import ModelService
from finesieve_server.rpc.probes import Probes
from finesieve_server.rpc.rerank import RerankService
from finesieve_server.rpc.retrieval import RetrievalService
from finesieve_server.rpc.search import SearchService
from finesieve_server.rpc.visit import TenantOf, one_tenant
from finesieve_server.search.collections import Collections
from finesieve_server.search.embedder import Embedder
from finesieve_server.search.index import Catalog
from finesieve_server.search.ingester import Ingester
from finesieve_server.search.limits import Limits
from finesieve_server.search.models import Models
from finesieve_server.search.reranker import Reranker
from finesieve_server.search.retriever import Retriever
from finesieve_server.search.two_stage import TwoStage
from finesieve_server.telemetry import Metrics

_REOPEN_S = 0.5
_MAX_PENDING_CALLS = 20_000
_MAX_PENDING_S = 600

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What everything but reranking stands on."""

    catalog: Catalog
    embedder: Embedder
    retriever: Retriever
    two_stage: TwoStage
    ingester: Ingester
    collections: Collections


@dataclass(frozen=True, slots=True)
class Parts:
    """What the services stand on; those that lack theirs are not served."""

    models: Models
    first_stage: FirstStage | None
    reranker: Reranker | None


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM bytes. With `client_ca`, clients must show a certificate that it signed."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None


class Serving:
    """One gRPC server: loading, then serving, then draining."""

    def __init__(
        self,
        parts: Parts,
        *,
        host: str,
        port: int,
        limits: Limits,
        default_deadline_s: float,
        max_calls: int,
        max_request_bytes: int,
        metrics: Metrics,
        tenant_of: TenantOf = one_tenant,
        tls: Tls | None = None,
        max_connection_age_s: float | None = None,
    ) -> None:
        services = _services(parts, limits)
        self._host = f"[{host}]" if ":" in host else host
        self._port = port
        self._tls = tls
        self._options = _options(max_request_bytes, max_connection_age_s)
        self._admission = Admission(max_calls, metrics.calls_in_flight)
        self._gate = Gate(
            self._admission, metrics, default_deadline_s=default_deadline_s, tenant_of=tenant_of
        )
        for descriptor, servicer in services:
            self._gate.add(descriptor, servicer)
        self._probes = Probes([descriptor.full_name for descriptor, _ in services])

    async def start(self) -> int:
        """Return the port that is open now; calls are refused until `set_ready`.

        Raises Unavailable where the port cannot be opened.
        """
        await self._probes.say(serving=False)
        self._server = await self._opened()
        self._keeping_open = asyncio.create_task(self._keep_open())
        return self._port

    async def set_ready(self) -> None:
        self._admission.phase = Phase.SERVING
        await self._probes.say(serving=True)

    async def drain(self, grace_s: float) -> None:
        """Refuse what comes, and let what is inside finish for at most `grace_s`.

        Refusing goes on after the return. To lose nothing then, end the process, not the server:
        see `stop`.
        """
        await self._probes.say(serving=False)
        await self._gate.drain(grace_s)

    async def stop(self) -> None:
        """Close the port and end every call, in a process that lives on.

        A stopping gRPC tells calls that it has not yet shown us CANCELLED, however long nobody
        came before (grpc/grpc#41785). The end of the process tells them UNAVAILABLE.
        """
        self._admission.phase = Phase.DRAINING
        await self._server.stop(None)
        await self._keeping_open

    async def _keep_open(self) -> None:
        """Open the port again when gRPC has closed it by itself.

        A call whose path is no UTF-8 ends grpc.aio's loop, and with it the server for everybody
        (grpcio 1.85). The calls in flight are lost then, and their clients may try again.
        """
        while True:
            try:
                await self._server.wait_for_termination()
            except Exception as error:  # noqa: BLE001 - whatever it was, the port is closed
                _log.error("port closed", exc_info=error)
            if self._admission.phase is Phase.DRAINING:
                return
            try:
                self._server = await self._opened()
            except Unavailable as error:
                _log.error("port still closed", exc_info=error)
                await asyncio.sleep(_REOPEN_S)

    async def _opened(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            handlers=[*self._probes.handlers(), self._gate], options=self._options
        )
        address = f"{self._host}:{self._port}"
        try:
            if self._tls is None:
                self._port = server.add_insecure_port(address)
            else:
                self._port = server.add_secure_port(address, _credentials(self._tls))
        except (RuntimeError, ValueError) as error:
            raise Unavailable(
                f"cannot listen on {address}: the port is taken, the host is not of this "
                "machine, or the TLS certificate and key do not fit"
            ) from error
        await server.start()
        return server


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)],
        root_certificates=tls.client_ca,
        require_client_auth=tls.client_ca is not None,
    )


def _services(parts: Parts, limits: Limits) -> list[tuple[ServiceDescriptor, object]]:
    services: list[tuple[ServiceDescriptor, object]] = [
        (_service(models_pb2.DESCRIPTOR), ModelService(parts.models))
    ]
    if parts.reranker is not None:
        rerank = RerankService(parts.reranker, limits)
        services.append((_service(rerank_pb2.DESCRIPTOR), rerank))
    first = parts.first_stage
    if first is not None:
        retrieval = RetrievalService(
            first.catalog, first.collections, first.ingester, first.retriever, limits
        )
        services += [
            (_service(retrieval_pb2.DESCRIPTOR), retrieval),
            (_service(search_pb2.DESCRIPTOR), SearchService(first.two_stage, limits)),
            (_service(embedding_pb2.DESCRIPTOR), EmbeddingService(first.embedder, limits)),
        ]
    return services


def _service(file: FileDescriptor) -> ServiceDescriptor:
    [service] = file.services_by_name.values()
    return service


def _options(max_request_bytes: int, max_connection_age_s: float | None) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", max_request_bytes),
        # Calls that have not come to the gate, gRPC cancels by itself with no word of why: from the
        # 1000th on, and after 30 s.
        ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING_CALLS),
        ("grpc.server_max_unrequested_time_in_server", _MAX_PENDING_S),
        # Two servers on one port would share its calls at random; the second has to fail.
        ("grpc.so_reuseport", 0),
        # A client that vanished is noticed, and its calls end, within some 80 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.http2.ping_timeout_ms", 20_000),  # grpcio 1.85 ignores keepalive_timeout_ms
        # Clients may ask as often as every 10 s, also while they have no call.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # early ones are no attack
    ]
    if max_connection_age_s is not None:
        options.append(("grpc.max_connection_age_ms", round(max_connection_age_s * 1e3)))
    return options
