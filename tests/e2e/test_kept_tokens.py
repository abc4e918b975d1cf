"""What the real server keeps with passages survives what servers go through, and is made again."""

import json
import time
from pathlib import Path

import apsw

from demo.server_process import ServerProcess
from finesieve.v1 import passages_pb2, rerank_pb2, retrieval_pb2, search_pb2
from tests.conftest import StartServer
from tests.e2e.requests import CREATE, RERANK, SEARCH, TEXTS, UPSERT
from tests.server.rpc.wire import Wire

QUERY = "where do eels go"
Scores = dict[str, float]


async def test_a_search_scores_the_same_after_a_kill_and_after_an_upgrade(
    start_server: StartServer, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    first = start_server(data_dir=data_dir)
    await ingest(first)
    before, reranked = await search(first)
    first.kill()

    second = start_server(data_dir=data_dir)
    after_kill, _ = await search(second)
    second.stop()
    forget(data_dir)
    third = start_server(data_dir=data_dir)
    after_upgrade, _ = await search(third)
    wait_for(third, "tokens completed")
    completed, _ = await search(third)

    assert before == reranked == after_kill == after_upgrade == completed
    assert len(before) == len(TEXTS)
    assert kept_rows(data_dir) == len(TEXTS)


async def ingest(server: ServerProcess) -> None:
    passages = [passages_pb2.Passage(id=f"p{at}", text=text) for at, text in enumerate(TEXTS)]
    async with Wire(server.address) as wire:
        await wire.ask(
            CREATE,
            retrieval_pb2.CreateCollectionRequest(name="kept"),
            retrieval_pb2.CreateCollectionResponse,
        )
        await wire.ask(
            UPSERT,
            retrieval_pb2.UpsertPassagesRequest(collection="kept", passages=passages),
            retrieval_pb2.UpsertPassagesResponse,
        )


async def search(server: ServerProcess) -> tuple[Scores, Scores]:
    """Return each passage's logit by Search, and by Rerank of the texts that came back."""
    async with Wire(server.address) as wire:
        found = await wire.ask(
            SEARCH,
            search_pb2.SearchRequest(collection="kept", query=QUERY),
            search_pb2.SearchResponse,
        )
        documents = [
            rerank_pb2.Document(id=each.hit.passage.id, text=each.hit.passage.text)
            for each in found.hits
        ]
        again = await wire.ask(
            RERANK,
            rerank_pb2.RerankRequest(query=QUERY, documents=documents),
            rerank_pb2.RerankResponse,
        )
    return (
        {each.hit.passage.id: each.hit.score.logit for each in found.hits},
        {each.id: each.score.logit for each in again.results},
    )


def forget(data_dir: Path) -> None:
    """Leave the store as if a version that kept no tokens had written it."""
    database = apsw.Connection(str(store(data_dir)))
    database.execute("DELETE FROM passage_tokens; DELETE FROM tokenizers")
    database.close()


def kept_rows(data_dir: Path) -> int:
    database = apsw.Connection(str(store(data_dir)))
    count: int = database.execute("SELECT count(*) FROM passage_tokens").get
    database.close()
    return count


def store(data_dir: Path) -> Path:
    [path] = data_dir.glob("collections/*/store.db")
    return path


def wait_for(server: ServerProcess, event: str, timeout_s: float = 60.0) -> None:
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        lines = server.log_path.read_text(encoding="utf-8").splitlines()
        if any(json.loads(line).get("event") == event for line in lines if line.startswith("{")):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {event!r} in {server.log_path}")
