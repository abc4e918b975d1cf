"""Put the server together: load, warm up, serve, drain. The only room that sees every other."""

import asyncio
import gc
import os
import signal
import sys
import threading
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import fields

import structlog
from prometheus_client import start_http_server

from finesieve_server.batching.batcher import Batcher
from finesieve_server.config import BadSettings, Settings, read_settings
from finesieve_server.errors import FinesieveError
from finesieve_server.index_setup import open_index
from finesieve_server.model_setup import (
    CannotStart,
    batch_devices,
    batch_limits,
    count_threads,
    load_models,
)
from finesieve_server.rpc.remote_scorer import RemoteScorer
from finesieve_server.rpc.replicas import Replicas, ReplicaTls
from finesieve_server.rpc.serving import FirstStage, Parts, Serving, Tls
from finesieve_server.rpc.visit import TenantOf, one_tenant, passed_on
from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.device import NoDevice
from finesieve_server.runtime.loading import Loaded
from finesieve_server.search.collections import Collections
from finesieve_server.search.context import ContextReader
from finesieve_server.search.embedder import Embedder
from finesieve_server.search.index import Catalog
from finesieve_server.search.ingester import Ingester
from finesieve_server.search.limits import Limits
from finesieve_server.search.local_scorer import LocalScorer
from finesieve_server.search.models import Models
from finesieve_server.search.reranker import Reranker
from finesieve_server.search.retriever import Retriever
from finesieve_server.search.texts import TokenizerPool
from finesieve_server.search.token_keeper import TokenKeeper
from finesieve_server.search.two_stage import TwoStage
from finesieve_server.telemetry import Metrics, configure_logging

COMMANDS = ("check", "rebuild", "backup")
# How long a server that asks replicas may not know of a new one.
_REPLICA_CONNECTION_AGE_S = 60.0

_log = structlog.get_logger()


def main() -> None:
    """Run `finesieve-server` until SIGTERM or Ctrl-C, or one of its other commands."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        # Only now: no server needs what draws tables and bars, a fifth of a second to import.
        from finesieve_server.commands import run

        run(sys.argv[1:])
        return
    try:
        settings = read_settings(sys.argv[1:])
        configure_logging(settings.log_level)
        asyncio.run(serve(settings))
    except (BadSettings, BadArtifact, NoDevice, CannotStart, FinesieveError) as problem:
        for line in str(problem).splitlines():
            print(f"finesieve-server: {line}", file=sys.stderr)
        sys.exit(2)


async def serve(settings: Settings, *, tenant_of: TenantOf = one_tenant) -> None:
    """Load, warm up, serve until told to stop, then drain and end the process."""
    _check_role(settings)
    stop = _stop_on_signals()
    metrics = Metrics()
    loaded = load_models(settings)
    models = Models(loaded.models[0])
    limits = _limits(settings)
    async with AsyncExitStack() as open_parts:
        tokenizers = TokenizerPool(count_threads(settings))
        open_parts.callback(tokenizers.close)
        batcher = _batcher(settings, loaded, metrics)
        open_parts.push_async_callback(asyncio.to_thread, batcher.close)
        reranker = Reranker(LocalScorer(models, batcher, tokenizers, limits))
        first_stage: FirstStage | None = None
        data: str | None = None
        keeping_tokens: AbstractAsyncContextManager[None] = nullcontext()
        if settings.role != "rerank":
            index = await open_index(settings)
            open_parts.push_async_callback(index.close)
            if index.keeps_tokens is not None:
                keeper = TokenKeeper(index.keeps_tokens, models, tokenizers)
                keeping_tokens = keeper.in_background()
            if settings.rerank_target is not None:
                replicas = Replicas(settings.rerank_target, metrics, _replica_tls(settings))
                open_parts.push_async_callback(replicas.close)
                reranker = Reranker(RemoteScorer(replicas, settings.max_documents))
            first_stage = _first_stage(index.catalog, models, batcher, tokenizers, reranker, limits)
            data = index.place
        parts = Parts(models, first_stage, None if settings.role == "retrieval" else reranker)
        serving = _serving(settings, parts, metrics, tenant_of)
        port = await serving.start()
        await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
        metrics_port = _serve_metrics(settings, metrics)
        # What start-up made stays: the garbage collector need not go through it again and again,
        # which took a twentieth of a large BatchRetrieve.
        gc.freeze()
        await serving.set_ready()
        _log.info(
            "ready",
            role=settings.role,
            host=settings.host,
            port=port,
            metrics_port=metrics_port,
            models=[encoder.name for encoder in loaded.models[0]],
            devices=[f"{device.kind}:{device.index}" for device in loaded.devices],
            threads=count_threads(settings),
            data=data,
        )
        async with keeping_tokens:
            await stop.wait()
        _log.info("draining", grace_s=settings.drain_s)
        await serving.drain(settings.drain_s)
    _log.info("stopped")
    # Late calls are refused up to here. To stop gRPC, or the loop under it, would tell them
    # CANCELLED instead; connections that end with the process tell them UNAVAILABLE.
    os._exit(0)


def _batcher(settings: Settings, loaded: Loaded, metrics: Metrics) -> Batcher:
    return Batcher(
        batch_devices(settings, loaded),
        batch_limits(settings, loaded.devices[0]),
        # A card computes one batch while the next is brought to it.
        in_flight=2 if loaded.devices[0].is_cuda else 1,
        score_cache_bytes=settings.score_cache_mib * 2**20,
        metrics=metrics,
    )


def _first_stage(
    catalog: Catalog,
    models: Models,
    batcher: Batcher,
    tokenizers: TokenizerPool,
    reranker: Reranker,
    limits: Limits,
) -> FirstStage:
    embedder = Embedder(models, batcher, tokenizers, limits)
    retriever = Retriever(catalog, models, embedder, limits)
    return FirstStage(
        catalog=catalog,
        embedder=embedder,
        retriever=retriever,
        two_stage=TwoStage(retriever, reranker, ContextReader(catalog), limits),
        ingester=Ingester(catalog, models, embedder, tokenizers, limits),
        collections=Collections(catalog, models),
    )


def _check_role(settings: Settings) -> None:
    """Raises CannotStart where settings belong to another role."""
    if settings.rerank_target is not None and settings.role != "retrieval":
        raise CannotStart(
            f"rerank_target: role {settings.role} scores itself; it is for role retrieval"
        )
    if settings.rerank_tls_ca is not None and settings.rerank_target is None:
        raise CannotStart("rerank_tls_ca: needs rerank_target")
    if settings.index == "milvus" and settings.role == "rerank":
        raise CannotStart("index: role rerank has no passages; milvus is for another role")
    of_milvus = sorted(each for each in settings.model_fields_set if each.startswith("milvus_"))
    if of_milvus and settings.index != "milvus":
        raise CannotStart(f"{of_milvus[0]}: needs --index milvus; passages lie in data_dir now")


def _serving(settings: Settings, parts: Parts, metrics: Metrics, tenant_of: TenantOf) -> Serving:
    connection_age_s = settings.max_connection_age_s
    if connection_age_s is None and settings.role == "rerank":
        connection_age_s = _REPLICA_CONNECTION_AGE_S
    return Serving(
        parts,
        host=settings.host,
        port=settings.port,
        limits=_limits(settings),
        default_deadline_s=settings.default_deadline_s,
        max_calls=settings.max_calls,
        max_request_bytes=settings.max_request_mib * 2**20,
        max_connection_age_s=connection_age_s,
        tls=_tls(settings),
        # A replica has each call from a server of ours, which knows whose it is.
        tenant_of=passed_on if settings.role == "rerank" else tenant_of,
        metrics=metrics,
    )


def _limits(settings: Settings) -> Limits:
    """Return the limits, those that are settings as they are set."""
    names = {each.name for each in fields(Limits)} & set(Settings.model_fields)
    return Limits(**{name: getattr(settings, name) for name in names})


def _tls(settings: Settings) -> Tls | None:
    if settings.tls_certificate is None and settings.tls_key is None:
        if settings.tls_client_ca is not None:
            raise CannotStart("tls_client_ca: needs tls_certificate and tls_key")
        return None
    if settings.tls_certificate is None or settings.tls_key is None:
        raise CannotStart("tls_certificate and tls_key: one needs the other")
    client_ca = settings.tls_client_ca
    try:
        return Tls(
            certificate=settings.tls_certificate.read_bytes(),
            key=settings.tls_key.read_bytes(),
            client_ca=client_ca.read_bytes() if client_ca else None,
        )
    except OSError as error:
        raise CannotStart(f"tls: {error}") from None


def _replica_tls(settings: Settings) -> ReplicaTls | None:
    if settings.rerank_tls_ca is None:
        return None
    own = _tls(settings)
    try:
        authorities = settings.rerank_tls_ca.read_bytes()
    except OSError as error:
        raise CannotStart(f"rerank_tls_ca: {error}") from None
    if own is None:
        return ReplicaTls(authorities)
    return ReplicaTls(authorities, own.certificate, own.key)


def _serve_metrics(settings: Settings, metrics: Metrics) -> int | None:
    if settings.metrics_port < 0:
        return None
    try:
        server, _ = start_http_server(
            settings.metrics_port, settings.host, registry=metrics.registry
        )
    except OSError as error:
        raise CannotStart(
            f"metrics_port: {settings.host}:{settings.metrics_port} cannot be taken: {error}; "
            "choose another, or -1 for none"
        ) from None
    return server.server_port


def _stop_on_signals() -> asyncio.Event:
    """Return what SIGTERM or Ctrl-C sets; and let the death of a thread of ours end the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def end_on_dead_thread(dead: threading.ExceptHookArgs) -> None:
        # A server whose device thread died would only look alive. Nothing acknowledged is lost.
        _log.error("thread died", thread=dead.thread and dead.thread.name, exc_info=dead.exc_value)
        os._exit(1)

    threading.excepthook = end_on_dead_thread
    return stop
