"""Say what bounds int8 on a CPU: a profile by operator, and ratios with ordinary dynamic int8.

    python -m benchmarks.kernels FP32_FOLDER INT8_FOLDER [--rounds 40]

Both folders are of one checkpoint, made by `finesieve-export convert`. Ordinary dynamic int8 is
made here from the fp32 graph. All take turns on the same padded batches, and each is given at its
fastest fifth: of processor time on one thread, which others on the machine disturb little, and of
wall time on all threads.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchmarks.machine import describe

SHAPES = ((1, 30), (1, 80), (6, 80), (32, 16), (2, 256))  # (pairs, tokens of each, padded)
Feed = dict[str, NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("fp32", type=Path, help="model folder")
    parser.add_argument("int8", type=Path, help="model folder")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        models = _models(arguments.fp32, arguments.int8, Path(scratch))
        print("\n".join(f"{what}: {which}" for what, which in describe()))
        _print_ratios("processor time, 1 thread", models, 1, time.process_time, arguments.rounds)
        threads = len(os.sched_getaffinity(0))
        clock = time.perf_counter
        _print_ratios(f"wall time, {threads} threads", models, threads, clock, arguments.rounds)
        for shape in SHAPES:
            _print_profile(models["per token"], shape, Path(scratch))


def _models(fp32: Path, int8: Path, scratch: Path) -> dict[str, Path]:
    models = {"per token": int8 / "model.onnx", "fp32": fp32 / "model.onnx"}
    for name, per_channel in (("dynamic, per tensor", False), ("dynamic, per channel", True)):
        models[name] = scratch / f"{per_channel}.onnx"
        quantize_dynamic(
            models["fp32"], models[name], weight_type=QuantType.QInt8, per_channel=per_channel
        )
    return models


def _session(path: Path, threads: int, profile: Path | None = None) -> ort.InferenceSession:
    """Return a session with the server's settings."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _feed(session: ort.InferenceSession, pairs: int, tokens: int) -> Feed:
    random = np.random.default_rng(0)
    mask = np.ones((pairs, tokens), np.int64)
    for row in mask:
        row[tokens - random.integers(0, tokens // 10 + 1) :] = 0
    every = {
        "input_ids": random.integers(1000, 20_000, mask.shape) * mask,
        "attention_mask": mask,
        "token_type_ids": mask * (np.arange(tokens) >= tokens // 4),
    }
    return {each.name: every[each.name] for each in session.get_inputs()}


def _print_ratios(
    title: str, models: Mapping[str, Path], threads: int, clock: Callable[[], float], rounds: int
) -> None:
    sessions = {name: _session(path, threads) for name, path in models.items()}
    print(f"\n{title}: milliseconds a batch (speed, the per-token model's by this one's)")
    for pairs, tokens in SHAPES:
        feed = _feed(sessions["per token"], pairs, tokens)
        seconds: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds + 1):  # The first, which warms up, is the slowest.
            for name, session in sessions.items():
                started = clock()
                session.run(None, feed)
                seconds[name].append(clock() - started)
        fast = {name: float(np.percentile(each, 20)) for name, each in seconds.items()}
        cells = [
            f"{name} {each * 1e3:.2f} ({each / fast['per token']:.3f})"
            for name, each in fast.items()
        ]
        print(f"{pairs} x {tokens}: {', '.join(cells)}", flush=True)


def _print_profile(
    path: Path, shape: tuple[int, int], scratch: Path, repetitions: int = 20
) -> None:
    session = _session(path, 1, scratch / "profile")
    feed = _feed(session, *shape)
    for _ in range(repetitions):
        session.run(None, feed)
    events = json.loads(Path(session.end_profiling()).read_text())
    print(f"\n{shape[0]} x {shape[1]}, one thread: operator, how many, milliseconds, share")
    microseconds, count = _by_operator(events)
    total = sum(microseconds.values())
    for operator, spent in microseconds.most_common(14):
        print(f"{operator:22} {count[operator]:4} {spent / 1e3:7.2f} {spent / total:6.1%}")


def _by_operator(events: Sequence[dict[str, object]]) -> tuple[Counter[str], Counter[str]]:
    """Return microseconds a run (medians of each node's, added up) and how many nodes."""
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        name, details = str(event["name"]), event.get("args")
        if name.endswith("_kernel_time") and isinstance(details, dict):
            durations[details["op_name"], name].append(float(str(event["dur"])))
    microseconds: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for (operator, _), each in durations.items():
        microseconds[operator] += int(np.median(each))
        count[operator] += 1
    return microseconds, count


if __name__ == "__main__":
    main()
