"""Put the server together: load, warm up, serve, drain. The only room that sees every other."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits
from finesieve_server.config import BadSettings, Settings, read_settings
from finesieve_server.errors import FinesieveError
from finesieve_server.index.catalog import Catalog
from finesieve_server.rpc.serving import Parts, Serving, Tls
from finesieve_server.rpc.visit import TenantOf, one_tenant
from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.device import CPU, Device, NoDevice
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from finesieve_server.runtime.loading import Loaded, load
from finesieve_server.search.collections import Collections
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


class CannotStart(Exception):
    """Why, and what to do about it."""


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
        catalog = await Catalog.open(settings.data_dir, threads=_threads(settings))
        open_parts.push_async_callback(catalog.close)
        tokenizers = TokenizerPool(_threads(settings))
        open_parts.callback(tokenizers.close)
        batcher = Batcher(
            _batch_devices(settings, loaded),
            _batch_limits(settings, loaded.devices[0]),
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
            threads=_threads(settings),
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
        two_stage=TwoStage(retriever, reranker, limits),
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


def load_models(settings: Settings) -> Loaded:
    """Verify and load every model folder. Raises BadArtifact, NoDevice or CannotStart."""
    _check_onnxruntime()
    loaded = load(
        model_folders(settings.models),
        threads=settings.batch_threads,
        wanted=settings.device,
        cards=[] if settings.gpus == "all" else list(map(int, settings.gpus.split(","))),
        card_bytes=settings.gpu_memory_mib * 2**20,
    )
    names = [encoder.name for encoder in loaded.models[0]]
    for encoder in loaded.models[0]:
        if names.count(encoder.name) > 1:
            raise CannotStart(f"models: two are named {encoder.name!r}; a name must be unique")
        _log.info("model loaded", model=encoder.name, precision=encoder.manifest.precision)
    return loaded


def model_folders(setting: str) -> Sequence[Path]:
    """Return the folders that --models means, "bundled" among them. Raises CannotStart."""
    parts = [part.strip() for part in setting.split(",") if part.strip()]
    if parts == ["none"]:
        return []
    folders: list[Path] = []
    for part in parts:
        folders += _bundled_folders() if part == "bundled" else [Path(part)]
    return folders


def _bundled_folders() -> list[Path]:
    package = Path(__file__).parent
    for home in (package / "models", package.parents[1] / "models"):
        folders = sorted(each.parent for each in home.glob("*/manifest.json"))
        if folders:
            return folders
    raise CannotStart(
        "models: no bundled models beside this package; name folders with --models, "
        "or use --models none"
    )


def _check_onnxruntime() -> None:
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        raise CannotStart(
            "onnxruntime and onnxruntime-gpu are both installed and hide each other; "
            "run `pip uninstall onnxruntime onnxruntime-gpu`, then install the one you need"
        )


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _batch_devices(settings: Settings, loaded: Loaded) -> list[dict[str, BiEncoder | CrossEncoder]]:
    """Return every model by name for each that runs a batch: each card, or each of the CPU's cores.

    Side by side on a thread each, batches gave a quarter more than one after the other on two
    (docs/decisions/0008). Cores share a session, and so its weights; but a session has one pool.
    """
    devices = [{encoder.name: encoder for encoder in each} for each in loaded.models]
    if loaded.devices[0].is_cuda:
        return devices
    threads = _threads(settings)
    if settings.batch_threads > threads:
        raise CannotStart(
            f"batch_threads: is {settings.batch_threads}; there are {threads} threads"
        )
    [models] = devices
    if settings.batch_threads == 1:
        return [models] * threads
    others = range(threads // settings.batch_threads - 1)
    return [models, *({name: each.on(CPU) for name, each in models.items()} for _ in others)]


def _batch_limits(settings: Settings, device: Device) -> BatchLimits:
    # A card needs some ten thousand tokens to be busy; a CPU's batches are cheaper short.
    tokens = settings.max_batch_tokens or (16_384 if device.is_cuda else 512)
    return BatchLimits(tokens, settings.max_batch_ms / 1e3, settings.max_queue_tokens)


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


def _threads(settings: Settings) -> int:
    return settings.threads or _cores()


def _cores() -> int:
    """Return how many cores this process may use, by its affinity and its control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))
