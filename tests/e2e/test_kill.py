"""A real server, killed at any moment under writes: what it answered is there after the restart."""

import json
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from finesieve.v1.passages_pb2 import Passage
from finesieve_client import Client, field, passage
from finesieve_client.errors import FinesieveError
from tests import forked
from tests.server.index.corpus import DIMENSION
from tests.server.index.durability import Ledger
from tests.server.index.writer_process import bucket_of, embedding, operation

MOST_OPERATIONS = 12
LONGEST_OPERATION_S = 0.05
LONGEST_START_S = 0.5
POLL_S = 0.002


class Load(threading.Thread):
    """Calls of one client, one after the other, from operation `number` on until one fails."""

    def __init__(self, address: str, number: int) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self._address = address
        self._number = number

    def run(self) -> None:
        with Client(self._address) as client:
            try:
                client.wait_ready(60)
                if not client.list_collections().collections:
                    client.create_collection("docs", caller_embeds=True, dimension=DIMENSION)
                while True:
                    self._do(client, self._number)
                    self.acknowledged.append(self._number)
                    self._number += 1
            except FinesieveError:
                return  # the server is gone

    def _do(self, client: Client, number: int) -> None:
        todo = operation(number)
        if todo.deleted:
            client.delete_passages("docs", ids=todo.deleted)
        elif todo.bucket is not None:
            client.delete_passages("docs", filter=field("bucket") == todo.bucket)
        elif number % 2:
            batch = passages(todo.upserted, number)
            client.upsert_passages("docs", batch, replace_documents=todo.replaces)
        else:
            batches = [passages(todo.upserted, number)]
            [answer] = client.stream_upsert_passages(
                "docs", batches, replace_documents=todo.replaces
            )
            assert not answer.HasField("failure"), answer


def passages(ids: tuple[str, ...], number: int) -> list[Passage]:
    return [
        passage(
            id_,
            f"by {number}",
            metadata={"bucket": bucket_of(id_), "by": number},
            document_id=f"d{bucket_of(id_)}",
            embedding=embedding(id_, number).tolist(),
        )
        for id_ in ids
    ]


async def test_a_killed_server_has_lost_nothing_halved_nothing_and_revived_nothing(
    tmp_path: Path,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    random = np.random.default_rng(5)
    ledger = Ledger(with_tokens=False)

    for kill in range(repetitions(5, 1000)):
        ledger.acknowledge(serve_and_kill(tmp_path, ledger.done, random))
        await ledger.require(tmp_path / "data", close=kill % 4 == 3)

    report(f"{ledger.done} operations stored, none lost")
    assert ledger.done > 10, "too little was written for the test to mean anything"


def serve_and_kill(folder: Path, number: int, random: np.random.Generator) -> list[int]:
    """Let a server take writes from operation `number` on; return what it answered when killed.

    One in five is killed while it starts, the others after some answers, within the next call.
    """
    output = folder / "log"
    options = ["--models", "none", "--data-dir", str(folder / "data"), "--port", "0"]
    server = forked.start_server(*options, "--metrics-port", "-1", output=output)
    if random.random() < 0.2:
        return killed(server, random.uniform(0, LONGEST_START_S))
    load = Load(f"127.0.0.1:{port_of(server, output)}", number)
    load.start()
    wanted = int(random.integers(1, MOST_OPERATIONS))
    while len(load.acknowledged) < wanted:
        assert server.is_alive(), output.read_text()
        assert load.is_alive(), output.read_text()
        time.sleep(POLL_S)
    killed(server, random.uniform(0, LONGEST_OPERATION_S))
    load.join()
    return load.acknowledged


def killed(server: BaseProcess, after_s: float) -> list[int]:
    """Kill the server; nothing was answered by it so far."""
    time.sleep(after_s)  # the moment of the kill is the one thing here that has to be a time
    server.kill()
    server.join()
    return []


def port_of(server: BaseProcess, output: Path) -> int:
    while True:
        for line in output.read_text().splitlines():
            if '"ready"' in line and line.endswith("}"):
                return int(json.loads(line)["port"])
        assert server.is_alive(), output.read_text()
        time.sleep(POLL_S)
