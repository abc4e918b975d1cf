"""Name every metric, set up the log, and add up where a call's time went."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Stage = Literal["tokenize", "queue", "embed", "retrieve", "rerank"]

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


@dataclass(slots=True)
class StageTimes:
    """Seconds that one call spent in each stage. Embed and rerank include their own queueing."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    embed_s: float = 0.0
    retrieve_s: float = 0.0
    rerank_s: float = 0.0

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    def add(self, stage: Stage, seconds: float) -> None:
        name = f"{stage}_s"
        setattr(self, name, getattr(self, name) + seconds)


class Metrics:
    """All metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "finesieve_calls",
            "Finished calls by method and gRPC status.",
            ("method", "status"),
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "finesieve_call_duration_seconds",
            "Time from arrival to answer.",
            ("method",),
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.calls_in_flight = Gauge(
            "finesieve_calls_in_flight",
            "Calls admitted and not yet answered.",
            registry=self.registry,
        )
        self.refusals = Counter(
            "finesieve_refusals",
            "Calls refused for want of room or time, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.replica_calls = Counter(
            "finesieve_replica_calls",
            "Calls to rerank replicas by gRPC status, each try by itself.",
            ("status",),
            registry=self.registry,
        )
        self.replica_call_seconds = Histogram(
            "finesieve_replica_call_duration_seconds",
            "Time of one try of a rerank replica, the way there and back included.",
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "finesieve_queue_delay_seconds",
            "Time from an item's arrival to the start of its batch.",
            ("model",),
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.waiting_tokens = Gauge(
            "finesieve_waiting_tokens",
            "Tokens in the queue of the device.",
            registry=self.registry,
        )
        self.score_cache_hits = Counter(
            "finesieve_score_cache_hits",
            "Pairs that were answered by a score computed before.",
            registry=self.registry,
        )
        self.score_cache_misses = Counter(
            "finesieve_score_cache_misses",
            "Pairs that no kept score answered.",
            registry=self.registry,
        )
        self.score_cache_entries = Gauge(
            "finesieve_score_cache_entries",
            "Scores that are kept.",
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "finesieve_batch_duration_seconds",
            "Time of one batch on the device.",
            ("model",),
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.batch_tokens = Histogram(
            "finesieve_batch_tokens",
            "Tokens of one batch, padding included.",
            ("model",),
            buckets=_TOKENS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "finesieve_tokens",
            "Positions computed, by model and whether they were text or padding.",
            ("model", "kind"),
            registry=self.registry,
        )


def configure_logging(level: str) -> None:
    """Write one JSON object a line to standard error, for our own and for libraries' loggers."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
        foreign_pre_chain=shared,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
