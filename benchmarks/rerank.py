"""Compare the server's reranking with the limit: a bare onnxruntime loop over the same tokens.

    python -m benchmarks.rerank [--data FOLDER] [--callers 16] [--documents 32] [--rounds 7]

Bare: the server's own session and thread settings, everything encoded beforehand, sorted by length
over everything, packed to the best token budget of a sweep. Server: as many callers as asked, each
with one call at a time, through gRPC. The two take turns, so that a machine that changes speed
changes both.
"""

import argparse
import asyncio
import os
import re
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc.aio

from benchmarks.machine import cpu_seconds, describe, peak_memory_mib, write_report
from benchmarks.workload import RerankCall, frame_pairs, rerank_calls
from demo.server_process import ServerProcess
from finesieve.v1 import rerank_pb2, rerank_pb2_grpc
from finesieve_server.app import load_models
from finesieve_server.config import read_settings
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed
from finesieve_server.search.texts import full_text

BUDGETS = (256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True, slots=True)
class ServerRound:
    """One round through the server."""

    seconds: float
    latencies_s: list[float]
    text_tokens: float
    padding_tokens: float
    cpu_share: float  # of all cores


def main() -> None:
    arguments = _arguments()
    calls = rerank_calls(
        arguments.data, arguments.callers * arguments.calls, arguments.documents, seed=1
    )
    pairs = len(calls) * arguments.documents
    print(f"{arguments.callers} callers, {len(calls)} calls, {pairs} pairs a round")
    model = _cross_encoder()
    framed = _encode(model, calls)
    budget = _best_budget(model, framed)
    bare_s, rounds = [], []
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "server.log"
        with ServerProcess(Path(folder) / "data", log_path) as server:
            server.wait_until_serving()
            for number in range(arguments.rounds):
                bare_s.append(_bare_round(model, framed, budget))
                rounds.append(asyncio.run(_server_round(server, calls, arguments.callers)))
                print(
                    f"round {number + 1}/{arguments.rounds}: bare {pairs / bare_s[-1]:.1f}, "
                    f"server {pairs / rounds[-1].seconds:.1f} pairs/s",
                    flush=True,
                )
            peak_mib = peak_memory_mib(server.pid)
    report = _report(arguments, pairs, framed, budget, bare_s, rounds, peak_mib)
    print(f"\n{report}")
    if arguments.write:
        write_report("rerank", report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder in BEIR's layout; else the demo's corpus")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--calls", type=int, default=2, help="calls of each caller in a round")
    parser.add_argument("--documents", type=int, default=32, help="documents of a call")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="keep the report in docs/")
    return parser.parse_args()


def _cross_encoder() -> CrossEncoder:
    settings = read_settings([])
    return next(each for each in load_models(settings).models[0] if isinstance(each, CrossEncoder))


def _encode(model: CrossEncoder, calls: Sequence[RerankCall]) -> list[Framed]:
    """Return every pair as the server frames it, shortest first."""
    framed = []
    for call in calls:
        texts = [full_text(title, text) for title, text in call.documents]
        framed += frame_pairs(model, call.query, texts)
    return sorted(framed, key=len)


def _packed(framed: Sequence[Framed], budget: int) -> Iterator[Sequence[Framed]]:
    start = 0
    for end in range(1, len(framed) + 1):
        if end == len(framed) or len(framed[end]) * (end + 1 - start) > budget:
            yield framed[start:end]
            start = end


def _bare_round(model: CrossEncoder, framed: Sequence[Framed], budget: int) -> float:
    started = time.perf_counter()
    for batch in _packed(framed, budget):
        model.run(batch)
    return time.perf_counter() - started


def _best_budget(model: CrossEncoder, framed: Sequence[Framed]) -> int:
    sample = framed[::4]
    seconds = {}
    for budget in BUDGETS:
        seconds[budget] = min(_bare_round(model, sample, budget) for _ in range(2))
        print(f"bare, {budget} tokens a batch: {len(sample) / seconds[budget]:.1f} pairs/s")
    return min(seconds, key=lambda budget: seconds[budget])


async def _server_round(
    server: ServerProcess, calls: Sequence[RerankCall], callers: int
) -> ServerRound:
    requests = iter([_request(call) for call in calls])
    latencies_s: list[float] = []

    async def caller(stub: "rerank_pb2_grpc.RerankServiceAsyncStub") -> None:
        for request in requests:
            sent = time.perf_counter()
            await stub.Rerank(request)
            latencies_s.append(time.perf_counter() - sent)

    tokens = _tokens(server)
    cpu_s = cpu_seconds(server.pid)
    started = time.perf_counter()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = rerank_pb2_grpc.RerankServiceStub(channel)
        await asyncio.gather(*(caller(stub) for _ in range(callers)))
    seconds = time.perf_counter() - started
    text, padding = (after - before for after, before in zip(_tokens(server), tokens, strict=True))
    cores = len(os.sched_getaffinity(0))
    return ServerRound(
        seconds, latencies_s, text, padding, (cpu_seconds(server.pid) - cpu_s) / seconds / cores
    )


def _request(call: RerankCall) -> rerank_pb2.RerankRequest:
    return rerank_pb2.RerankRequest(
        query=call.query,
        documents=[rerank_pb2.Document(title=title, text=text) for title, text in call.documents],
    )


def _tokens(server: ServerProcess) -> tuple[float, float]:
    """Return the positions computed so far, (text, padding), from the server's metrics."""
    address = f"http://{server.address.partition(':')[0]}:{server.metrics_port}/metrics"
    with urllib.request.urlopen(address) as answer:
        lines = answer.read().decode()
    sums = []
    for kind in ("text", "padding"):
        values = re.findall(
            rf'^finesieve_tokens_total{{kind="{kind}".*}} (\S+)$', lines, re.MULTILINE
        )
        sums.append(sum(map(float, values)))
    return sums[0], sums[1]


def _report(
    arguments: argparse.Namespace,
    pairs: int,
    framed: Sequence[Framed],
    budget: int,
    bare_s: Sequence[float],
    rounds: Sequence[ServerRound],
    peak_mib: float,
) -> str:
    ratios = [bare / each.seconds for bare, each in zip(bare_s, rounds, strict=True)]
    latencies = statistics.quantiles(
        [latency for each in rounds for latency in each.latencies_s], n=100
    )
    text = sum(each.text_tokens for each in rounds)
    padding = sum(each.padding_tokens for each in rounds)
    tokens = sum(map(len, framed))
    bare, served = statistics.median(bare_s), statistics.median(each.seconds for each in rounds)
    data = arguments.data.name if arguments.data else "demo corpus"
    rows = [
        ("callers x documents", f"{arguments.callers} x {arguments.documents}, {data}"),
        (
            "tokens a pair, mean (shortest to longest)",
            f"{tokens / len(framed):.0f} ({len(framed[0])} to {len(framed[-1])})",
        ),
        (
            "bare loop",
            f"{pairs / bare:.1f} pairs/s, {tokens / bare:.0f} tokens/s, {budget} tokens a batch",
        ),
        ("server", f"{pairs / served:.1f} pairs/s, {tokens / served:.0f} tokens/s"),
        (
            "server / bare, median (least to most)",
            f"**{statistics.median(ratios):.3f}** ({min(ratios):.3f} to {max(ratios):.3f})",
        ),
        ("padding share of positions", f"{padding / (text + padding):.1%}"),
        ("latency p50, p95, p99", ", ".join(f"{latencies[at - 1]:.2f} s" for at in (50, 95, 99))),
        ("server's share of all cores", f"{statistics.median(r.cpu_share for r in rounds):.0%}"),
        ("server's peak memory", f"{peak_mib:.0f} MiB"),
        *describe(),
    ]
    lines = [f"| {what} | {value} |" for what, value in rows]
    title = f"# Reranking: the server against a bare loop, {datetime.now(UTC):%Y-%m-%d}"
    command = f"{arguments.rounds} interleaved rounds by `make bench`; medians."
    return "\n".join([title, "", command, "", "| | |", "|---|---|", *lines])


if __name__ == "__main__":
    main()
