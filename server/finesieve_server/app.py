"""Put the server together: load, warm up, serve, drain. The only room that sees every other."""

import asyncio
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack
from dataclasses import fields

import structlog
from prometheus_client import start_http_server

from finesieve_server.batching.batcher import Batcher
from finesieve_server.config import BadSettings, Settings, read_settings
from finesieve_server.errors import FinesieveError
from finesieve_server.index.catalog import Catalog
from finesieve_server.model_setup import (
    CannotStart,
    batch_devices,
    batch_limits,
    count_threads,
    load_models,
)
from finesieve_server.rpc.serving import Parts, Serving, Tls
from finesieve_server.rpc.visit import TenantOf, one_tenant
from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.device import NoDevice
from finesieve_server.search.collections import Collections
from finesieve_server.search.context import ContextReader
from finesieve_server.search.embedder import Embedder
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

_log = structlog.get_logger()


def main() -> None:
    """Run `finesieve-server` until SIGTERM or Ctrl-C."""
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
    stop = _stop_on_signals()
    metrics = Metrics()
    loaded = load_models(settings)
    encoders = loaded.models[0]
    async with AsyncExitStack() as open_parts:
        catalog = await Catalog.open(settings.data_dir, threads=count_threads(settings))
        open_parts.push_async_callback(catalog.close)
        tokenizers = TokenizerPool(count_threads(settings))
        open_parts.callback(tokenizers.close)
        batcher = Batcher(
            batch_devices(settings, loaded),
            batch_limits(settings, loaded.devices[0]),
            # A card computes one batch while the next is brought to it.
            in_flight=2 if loaded.devices[0].is_cuda else 1,
            score_cache_bytes=settings.score_cache_mib * 2**20,
            metrics=metrics,
        )
        open_parts.push_async_callback(asyncio.to_thread, batcher.close)
        models = Models(encoders)
        parts = _parts(settings, catalog, models, batcher, tokenizers)
        serving = _serving(settings, parts, metrics, tenant_of)
        port = await serving.start()
        await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
        metrics_port = _serve_metrics(settings, metrics)
        await serving.set_ready()
        _log.info(
            "ready",
            host=settings.host,
            port=port,
            metrics_port=metrics_port,
            models=[encoder.name for encoder in encoders],
            devices=[f"{device.kind}:{device.index}" for device in loaded.devices],
            threads=count_threads(settings),
            data_dir=str(settings.data_dir),
        )
        async with TokenKeeper(catalog, models, tokenizers).in_background():
            await stop.wait()
        _log.info("draining", grace_s=settings.drain_s)
        await serving.drain(settings.drain_s)
    _log.info("stopped")
    # Late calls are refused up to here. To stop gRPC, or the loop under it, would tell them
    # CANCELLED instead; connections that end with the process tell them UNAVAILABLE.
    os._exit(0)


def _parts(
    settings: Settings,
    catalog: Catalog,
    models: Models,
    batcher: Batcher,
    tokenizers: TokenizerPool,
) -> Parts:
    limits = _limits(settings)
    embedder = Embedder(models, batcher, tokenizers, limits)
    retriever = Retriever(catalog, models, embedder, limits)
    reranker = Reranker(LocalScorer(models, batcher, tokenizers, limits))
    return Parts(
        catalog=catalog,
        models=models,
        embedder=embedder,
        retriever=retriever,
        reranker=reranker,
        two_stage=TwoStage(retriever, reranker, ContextReader(catalog), limits),
        ingester=Ingester(catalog, models, embedder, tokenizers, limits),
        collections=Collections(catalog, models),
    )


def _serving(settings: Settings, parts: Parts, metrics: Metrics, tenant_of: TenantOf) -> Serving:
    return Serving(
        parts,
        host=settings.host,
        port=settings.port,
        limits=_limits(settings),
        default_deadline_s=settings.default_deadline_s,
        max_calls=settings.max_calls,
        max_request_bytes=settings.max_request_mib * 2**20,
        tls=_tls(settings),
        tenant_of=tenant_of,
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
