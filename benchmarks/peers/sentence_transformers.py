"""sentence-transformers' CrossEncoder.rank(), the library that many rerank with, in a process.

A library has no queue: the callers' calls are ranked one after another, each with all cores.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers.environment import FOLDER, Environment, last_line, offline
from benchmarks.peers.peer import THREADS, Unavailable
from benchmarks.workload import RerankCall

# Of version 6 none has the ONNX extra: that asks for transformers before 4.58, the rest for 5.
ENVIRONMENT = Environment(
    "sentence-transformers",
    (
        "sentence-transformers[onnx]==5.7.0",
        "optimum-onnx==0.1.0",
        "onnxruntime==1.31.1",
        "torch==2.15.0",
        "transformers==4.57.6",
    ),
)
CONFIGURATIONS = {  # precision of the checkpoint, backend
    "CrossEncoder torch fp32": ("fp32", "torch"),
    "CrossEncoder onnx fp32": ("fp32", "onnx"),
    "CrossEncoder onnx int8": ("int8", "onnx"),
}
WORKER = Path(__file__).with_name("sentence_transformers_worker.py")
BATCH_SIZES = (4, 8, 16, 32)


class SentenceTransformers:
    """The worker process, asked one call at a time."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.batch_size = max(BATCH_SIZES)
        self._process = process
        self._log_path = log_path
        self._one_at_a_time = asyncio.Lock()

    async def warm_up(self, calls: Sequence[RerankCall]) -> None:
        """Take the fastest batch size, as the library's manual advises."""
        seconds = {}
        for self.batch_size in BATCH_SIZES:
            await self.rerank(calls[0])
            started = time.perf_counter()
            for call in calls:
                await self.rerank(call)
            seconds[self.batch_size] = time.perf_counter() - started
        self.batch_size = min(seconds, key=lambda size: seconds[size])

    async def rerank(self, call: RerankCall) -> list[float]:
        asked = {"query": call.query, "documents": call.texts, "batch_size": self.batch_size}
        async with self._one_at_a_time:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            answer = await self._process.stdout.readline()
        if not answer:
            raise Unavailable(f"ended: {last_line(self._log_path.read_text())}")
        scores: list[float] = json.loads(answer)
        return scores


@asynccontextmanager
async def running(name: str, forms: Mapping[str, Path]) -> AsyncIterator[SentenceTransformers]:
    """Run one of CONFIGURATIONS on the checkpoint in the precision that it reads."""
    precision, backend = CONFIGURATIONS[name]
    log_path = FOLDER / f"{name.replace(' ', '-')}.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(ENVIRONMENT.bin / "python", WORKER, forms[precision], backend, str(THREADS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=offline(),
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if await process.stdout.readline() != b"ready\n":
            raise Unavailable(f"does not start: {last_line(log_path.read_text())}")
        yield SentenceTransformers(name, process, log_path)
    finally:
        process.stdin.close()  # the worker ends with its input
        await process.wait()
