"""Run the real server over one data directory; load it, and ask it with ready-made bytes.

What is measured is the server: requests are written before the clock starts, and answers are read
after it stopped.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

from benchmarks.machine import anonymous_bytes, cpu_seconds
from benchmarks.retrieval.messages import COLLECTION
from demo.server_process import ServerProcess
from finesieve.v1 import retrieval_pb2
from finesieve_client import Client
from finesieve_client.contract import BATCH_RETRIEVE, RETRIEVE, STREAM_UPSERT_PASSAGES

OPTIONS = ("--models", "none")  # callers embed
START_S = 900.0
STOP_S = 300.0  # it saves its index
LOAD_S = 7_200.0
ANSWER_S = 300.0
MAX_ANSWER_BYTES = 64 << 20
KILL_AFTER = 5_000  # passages
IDLE_SHARE = 0.05  # of a core, over a second: nothing is being built any more

Ask: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"
Load: TypeAlias = (
    "grpc.StreamStreamMultiCallable[bytes, retrieval_pb2.StreamUpsertPassagesResponse]"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """How long a load took: until all was durable, and until the server had nothing left to do."""

    passages: int
    durable_s: float
    idle_s: float
    cpu_s: float


class Served:
    """A running server. Methods raise grpc.RpcError where it refuses."""

    def __init__(self, process: ServerProcess, started_s: float) -> None:
        """Take a server that serves as of now."""
        self.process = process
        self.started_s = started_s
        self.serving_s = time.perf_counter() - started_s
        self._channel = grpc.insecure_channel(
            process.address, [("grpc.max_receive_message_length", MAX_ANSWER_BYTES)]
        )
        self._retrieve: Ask = self._channel.unary_unary(RETRIEVE.path)
        self._batch_retrieve: Ask = self._channel.unary_unary(BATCH_RETRIEVE.path)
        self._load: Load = self._channel.stream_stream(
            STREAM_UPSERT_PASSAGES.path,
            response_deserializer=retrieval_pb2.StreamUpsertPassagesResponse.FromString,
        )

    def create(self, dimension: int) -> None:
        """Make the collection."""
        with Client(self.process.address) as client:
            client.create_collection(COLLECTION, dimension=dimension, caller_embeds=True)

    def count(self) -> int:
        """Return how many passages there are."""
        with Client(self.process.address) as client:
            return int(client.get_collection(COLLECTION).collection.passage_count)

    def load(self, batches: Iterable[bytes], passages: int) -> Loaded:
        """Send batches, two at a time, until all are durable and the index has caught up."""
        began_s, cpu_s = time.perf_counter(), cpu_seconds(self.process.pid)
        for answer in self._load(iter(batches), timeout=LOAD_S):
            if answer.HasField("failure"):
                raise SystemExit(f"batch {answer.batch} was refused: {answer.failure}")
        durable_s = time.perf_counter() - began_s
        idle_s = self.wait_until_idle() - began_s
        return Loaded(passages, durable_s, idle_s, cpu_seconds(self.process.pid) - cpu_s)

    def load_and_kill(self, batches: Iterable[bytes]) -> int:
        """End the server while the last batches are under way; return how many were durable."""
        answered = 0
        try:
            for answer in self._load(iter(batches), timeout=LOAD_S):
                answered += answer.inserted + answer.updated
                if answered >= KILL_AFTER:
                    self.process.kill()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        return answered

    def wait_until_idle(self) -> float:
        """Return when the server last had something to do, once it does nothing any more."""
        while True:
            began_s, cpu_s = time.perf_counter(), cpu_seconds(self.process.pid)
            time.sleep(1.0)
            if cpu_seconds(self.process.pid) - cpu_s < IDLE_SHARE:
                return began_s

    def retrieve(self, message: bytes) -> bytes:
        """Return the answer of one query, unread."""
        answer: bytes = self._retrieve(message, timeout=ANSWER_S)
        return answer

    def batch_retrieve(self, message: bytes) -> bytes:
        """Return the answer of many queries, unread."""
        answer: bytes = self._batch_retrieve(message, timeout=ANSWER_S)
        return answer

    def anonymous_bytes(self) -> int:
        """Return the memory that is no file's."""
        return anonymous_bytes(self.process.pid)

    def close(self) -> None:
        """Close the channel; the server runs on."""
        self._channel.close()


@contextmanager
def serving(data_dir: Path, options: Sequence[str] = OPTIONS) -> Iterator[Served]:
    """Run a server over the directory; afterwards it is stopped, unless it was killed."""
    log_path = data_dir.with_name(f"{data_dir.name}.log")
    began_s = time.perf_counter()
    process = ServerProcess(data_dir, log_path, options)
    try:
        process.wait_until_serving(START_S)
        served = Served(process, began_s)
        try:
            yield served
        finally:
            served.close()
    finally:
        process.stop(STOP_S)
