"""How many pairs a second the server can bring to a model that answers at once.

A graph of a few operators stands in for the model, in a real folder with the real tokenizer: what
is left is gRPC, tokenizing, batching, padding, onnxruntime's own cost and the answer. No model can
be kept busier than this by one process.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from benchmarks.gpu.callers import WARM_UP_S, ask
from benchmarks.machine import cpu_seconds
from benchmarks.workload import rerank_calls
from demo.server_process import ServerProcess
from finesieve.v1 import rerank_pb2
from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits
from finesieve_server.batching.work import Work
from finesieve_server.runtime.artifact import read_artifact, write_manifest
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed, Tokenizer
from finesieve_server.telemetry import Metrics

BUNDLED = Path(__file__).parents[2] / "models" / "minilm-l6-cross-encoder"
QUERY_TOKENS = 12
DOCUMENTS = 100
PASSAGES = 2_000  # that the requests are cut from


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What one server process did, and what a pair cost it."""

    pairs_per_s: float
    server_us: float  # processor time of a pair, all threads
    callers_cores: float


def make_instant_model(folder: Path) -> Path:
    """Write a model folder whose graph reads everything and computes nearly nothing."""
    folder.mkdir(parents=True)
    names = ("input_ids", "attention_mask", "token_type_ids")
    shape = ["batch_size", "tokens"]
    casts = [
        helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT) for name in names
    ]
    graph = helper.make_graph(
        [
            *casts,
            helper.make_node("Sum", [cast.output[0] for cast in casts], ["each"]),
            helper.make_node("ReduceMean", ["each", "last"], ["logits"], keepdims=1),
        ],
        "instant",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in names],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch_size", 1])],
        [helper.make_tensor("last", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    (folder / "tokenizer.json").write_bytes((BUNDLED / "tokenizer.json").read_bytes())
    manifest = read_artifact(BUNDLED).manifest
    write_manifest(folder, replace(manifest, name="instant", precision="fp32", parity={}))
    return folder


def requests_of(tokenizer: Tokenizer, tokens: int, count: int) -> list[rerank_pb2.RerankRequest]:
    """Return requests of real text whose pairs have so many tokens each, special ones counted.

    Every passage is drawn once, so that no pair is there twice.
    """
    room = tokens - tokenizer.pair.num_special - QUERY_TOKENS
    [call] = rerank_calls(None, 1, PASSAGES, seed=2)
    text = " ".join(call.texts)
    ids, offsets = tokenizer.encode_with_offsets(text)
    step = max(1, (len(ids) - tokens) // (count * (DOCUMENTS + 1)))
    starts = iter(range(0, len(ids) - tokens, step))

    def cut(length: int) -> str:
        start = next(starts)
        return text[offsets[start, 0] : offsets[start + length - 1, 1]]

    return [
        rerank_pb2.RerankRequest(
            query=cut(QUERY_TOKENS),
            documents=[rerank_pb2.Document(text=cut(room)) for _ in range(DOCUMENTS)],
        )
        for _ in range(count)
    ]


def measure_ceiling(
    folder: Path,
    requests: Sequence[rerank_pb2.RerankRequest],
    *,
    seconds: float,
    processes: int,
    callers: int,
) -> Ceiling:
    """Serve that folder, and ask as fast as it answers."""
    options = ("--models", str(folder), "--max-batch-tokens", "16384", "--score-cache-mib", "0")
    with tempfile.TemporaryDirectory() as place:
        with ServerProcess(Path(place) / "data", Path(place) / "log", options) as server:
            server.wait_until_serving()
            cpu_s = cpu_seconds(server.pid)
            answered = ask(
                server.address, requests, processes=processes, callers=callers, seconds=seconds
            )
            cpu_s = cpu_seconds(server.pid) - cpu_s
        pairs_per_s = answered.calls_per_s * DOCUMENTS
    # Processor time is counted from the first call to the last, warm-up and start included.
    handled = pairs_per_s * (seconds + WARM_UP_S)
    return Ceiling(
        pairs_per_s=pairs_per_s,
        server_us=cpu_s / handled * 1e6,
        callers_cores=answered.cpu_s,
    )


def stages(folder: Path, requests: Sequence[rerank_pb2.RerankRequest]) -> dict[str, float]:
    """Return the microseconds of processor time that each step takes for a pair, run alone."""
    model = CrossEncoder(read_artifact(folder), threads=1)
    messages = [each.SerializeToString() for each in requests]
    texts = [[each.query, *(document.text for document in each.documents)] for each in requests]
    encoded = [model.tokenizer.encode(each) for each in texts]
    framed = [model.frame(query, passage) for query, *passages in encoded for passage in passages]
    rows = 16_384 // max(map(len, framed))
    batches = [framed[start : start + rows] for start in range(0, len(framed), rows)]
    steps: dict[str, Callable[[], object]] = {
        "decode the request": lambda: list(map(rerank_pb2.RerankRequest.FromString, messages)),
        "tokenize": lambda: list(map(model.tokenizer.encode, texts)),
        "frame": lambda: [
            model.frame(query, passage) for query, *passages in encoded for passage in passages
        ],
        "wait in the queue": lambda: asyncio.run(_through_the_batcher(framed)),
        "pad and run": lambda: list(map(model.run, batches)),
    }
    return {name: _best_s(step) / len(framed) * 1e6 for name, step in steps.items()}


class _AnswersAtOnce:
    """A model in the batcher's eyes, without a session."""

    max_tokens = 512

    def run(self, batch: Sequence[Framed]) -> NDArray[np.float32]:
        return np.zeros(len(batch), np.float32)

    def example(self, tokens: int) -> Framed:
        return Framed(np.zeros(tokens, np.int32), tokens)


async def _through_the_batcher(framed: Sequence[Framed]) -> None:
    batcher = Batcher(
        [{"instant": _AnswersAtOnce()}],
        BatchLimits(16_384, 0.25, max_waiting_tokens=10_000_000),
        in_flight=2,
        score_cache_bytes=0,
        metrics=Metrics(),
    )
    batcher.start(asyncio.get_running_loop())
    deadline = time.monotonic() + 60
    calls = [framed[start : start + DOCUMENTS] for start in range(0, len(framed), DOCUMENTS)]
    await asyncio.gather(*(batcher.run(Work("instant", call, deadline)) for call in calls))
    batcher.close()


def _best_s(step: Callable[[], object]) -> float:
    """Return the processor time of a step, which others on the machine do not change much."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        step()
        seconds.append(time.process_time() - started)
    return min(seconds)
