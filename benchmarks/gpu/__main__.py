"""Measure the server on a CUDA card: against the bare loop, torch, a matrix product, and the host.

    make bench-gpu ARGS="[--write] [--seconds 20]"
    make bench-gpu ARGS=--host-only      # what the host can feed; needs no card

Two cross-encoders with random weights, of MiniLM's and of XLM-R-base's size, are exported in fp16
and asked for pairs of 128 tokens. Needs [server-gpu], [export] and a torch that has CUDA.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu import torch_speed
from benchmarks.gpu.callers import ask
from benchmarks.gpu.host_ceiling import (
    DOCUMENTS,
    Ceiling,
    make_instant_model,
    measure_ceiling,
    requests_of,
    stages,
)
from benchmarks.machine import describe, write_report
from demo.server_process import ServerProcess
from finesieve_server.runtime.artifact import read_artifact
from finesieve_server.runtime.device import NoDevice, find_devices
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed, Tokenizer

if TYPE_CHECKING:
    from benchmarks.gpu.models import Subject

TOKENS = 128
BATCH_ROWS = (32, 64, 128, 256, 512)
LONE_CALLS_S = 20.0
BARE_PAIRS = 16_384


@dataclass(frozen=True, slots=True)
class Measured:
    """One subject's figures."""

    bare_one: float  # pairs a second, one batch at a time
    bare_two: float  # two batches in flight
    served: float
    torch: float
    busy: float  # share of time in which the card computes, as the driver says
    callers_cores: float
    p50_s: float  # 100 documents alone
    p99_s: float


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as place:
        if arguments.host_only:
            report = "#" + _host_report(_ceiling(Path(place), arguments)).lstrip("#")
        else:
            try:
                find_devices("cuda")
            except NoDevice as problem:
                print(f"benchmarks.gpu: {problem}", file=sys.stderr)
                sys.exit(2)
            report = _gpu_report(Path(place), arguments)
    print(f"\n{report}")
    if arguments.write:
        write_report("host-ceiling" if arguments.host_only else "gpu", report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--host-only", action="store_true", help="only what the host can feed")
    parser.add_argument("--seconds", type=float, default=20, help="of each round of calls")
    parser.add_argument("--processes", type=int, default=6, help="that ask the server")
    parser.add_argument("--callers", type=int, default=16, help="in each process")
    parser.add_argument("--write", action="store_true", help="keep the report in docs/")
    return parser.parse_args()


def _measure(subject: "Subject", arguments: argparse.Namespace) -> Measured:
    [device, *_] = find_devices("cuda")
    model = CrossEncoder(read_artifact(subject.folder), threads=1, device=device)
    requests = requests_of(model.tokenizer, TOKENS, arguments.processes * arguments.callers)
    framed = [model.example(TOKENS)] * BARE_PAIRS
    bare_one, bare_two = (
        max(_bare_pairs_s(model, framed, rows, in_flight) for rows in BATCH_ROWS)
        for in_flight in (1, 2)
    )
    print(f"{subject.name}: bare {bare_one:.0f}, two in flight {bare_two:.0f} pairs/s", flush=True)
    del model  # the server wants the card's memory
    options = ["--models", str(subject.folder), "--device", "cuda", "--gpus", str(device.index)]
    options += ["--score-cache-mib", "0"]
    with (
        tempfile.TemporaryDirectory() as place,
        ServerProcess(Path(place) / "data", Path(place) / "log", options) as server,
    ):
        server.wait_until_serving(300)
        with _card_use(device.index) as use:
            answered = ask(
                server.address,
                requests,
                processes=arguments.processes,
                callers=arguments.callers,
                seconds=arguments.seconds,
            )
        alone = ask(server.address, requests, processes=1, callers=1, seconds=LONE_CALLS_S)
    latencies = statistics.quantiles(alone.latencies_s, n=100)
    pairs = [(each.query, document.text) for each in requests for document in each.documents]
    return Measured(
        bare_one=bare_one,
        bare_two=bare_two,
        served=answered.calls_per_s * DOCUMENTS,
        torch=max(
            torch_speed.sentence_transformers_pairs_s(subject.checkpoint, pairs, rows)
            for rows in (32, 128, 512)
        ),
        busy=statistics.mean(use) if use else float("nan"),
        callers_cores=answered.cpu_s,
        p50_s=latencies[49],
        p99_s=latencies[98],
    )


def _bare_pairs_s(
    model: CrossEncoder, framed: Sequence[Framed], rows: int, in_flight: int
) -> float:
    batches = [framed[start : start + rows] for start in range(0, len(framed), rows)]
    model.run(batches[0])
    with ThreadPoolExecutor(in_flight) as threads:
        started = time.perf_counter()
        for _ in threads.map(model.run, batches):
            pass
        return len(framed) / (time.perf_counter() - started)


@contextmanager
def _card_use(index: int) -> Iterator[list[float]]:
    """Fill the list with the shares of time that this card computed, at the exit.

    nvidia-smi and CUDA give a card the same number where CUDA_VISIBLE_DEVICES is not set.
    """
    use: list[float] = []
    query = ["nvidia-smi", f"--id={index}", "--query-gpu=timestamp,utilization.gpu"]
    query += ["--format=csv,noheader,nounits"]
    sampler = subprocess.Popen([*query, "--loop-ms=200"], stdout=subprocess.PIPE, text=True)
    try:
        yield use
    finally:
        sampler.terminate()
        said, _ = sampler.communicate()
        samples = [int(line.rpartition(",")[2]) / 100 for line in said.splitlines()]
        at_work = [at for at, share in enumerate(samples) if share > 0]
        # Before and after, the callers start and stop.
        use += samples[at_work[0] + 10 : at_work[-1] - 5] if at_work else []


def _ceiling(place: Path, arguments: argparse.Namespace) -> tuple[Ceiling, dict[str, float]]:
    folder = make_instant_model(place / "instant")
    requests = requests_of(
        Tokenizer(folder / "tokenizer.json"), TOKENS, arguments.processes * arguments.callers
    )
    print("the host's ceiling", flush=True)
    measured = measure_ceiling(
        folder,
        requests,
        seconds=arguments.seconds,
        processes=arguments.processes,
        callers=arguments.callers,
    )
    return measured, stages(folder, requests)


def _gpu_report(place: Path, arguments: argparse.Namespace) -> str:
    from benchmarks.gpu.models import subjects  # torch and optimum take seconds

    product = torch_speed.matrix_product_flops()
    host = _ceiling(place, arguments)
    yardstick = (
        f"Pairs of {TOKENS} tokens, fp16, by `make bench-gpu`. Yardstick: a dense fp16 matrix "
        f"product of 8192 x 8192 in the same run, {product / 1e12:.0f} TFLOP/s."
    )
    lines = [
        f"# The server on a GPU, {datetime.now(UTC):%Y-%m-%d}",
        "",
        yardstick,
        "",
        "| | " + " | ".join(_ROWS) + " |",
        "|---|" + "---|" * len(_ROWS),
    ]
    for subject in subjects(place, "cuda"):
        measured = _measure(subject, arguments)
        lines.append(f"| {subject.name} | " + " | ".join(_cells(subject, measured, product)) + " |")
    lines += ["", *(f"- {name}: {card}" for name, card in _card()), "", _host_report(host)]
    return "\n".join(lines)


_ROWS = (
    "GFLOP a pair",
    "bare loop, pairs/s (two in flight)",
    "server, pairs/s",
    "share of the matrix product",
    "card busy",
    "sentence-transformers fp16, pairs/s",
    "server / it",
    "100 documents alone, p50, p99",
)


def _cells(subject: "Subject", measured: Measured, product: float) -> list[str]:
    flops = subject.size.flops(TOKENS)
    return [
        f"{flops / 1e9:.2f}",
        f"{measured.bare_one:.0f} ({measured.bare_two:.0f})",
        f"{measured.served:.0f}",
        f"{measured.served * flops / product:.1%}",
        f"{measured.busy:.0%}",
        f"{measured.torch:.0f}",
        f"{measured.served / measured.torch:.2f}",
        f"{measured.p50_s * 1e3:.1f} ms, {measured.p99_s * 1e3:.1f} ms",
    ]


def _card() -> list[tuple[str, str]]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=True)
    return [(f"card {at}", line) for at, line in enumerate(answer.stdout.splitlines())]


def _host_report(host: tuple[Ceiling, dict[str, float]]) -> str:
    measured, steps = host
    rest_us = measured.server_us - sum(steps.values())
    rows = [
        ("pairs/s through the server", f"**{measured.pairs_per_s:.0f}**"),
        ("cores used by the callers", f"{measured.callers_cores:.1f}"),
        ("processor time of a pair in the server", f"{measured.server_us:.0f} us"),
        *((f"- {name}", f"{taken_us:.1f} us") for name, taken_us in steps.items()),
        ("- the rest: gRPC, checks, the answer, the log, switching threads", f"{rest_us:.1f} us"),
        *describe(),
    ]
    return "\n".join(
        [
            f"## The host's ceiling, {datetime.now(UTC):%Y-%m-%d}",
            "",
            f"A model that answers at once, {DOCUMENTS} documents a call, {TOKENS} tokens a pair.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {what} | {value} |" for what, value in rows),
        ]
    )


if __name__ == "__main__":
    main()
