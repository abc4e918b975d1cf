"""A deadline that nobody could keep, a damaged store, a server that stops."""

import asyncio
import secrets
import time
from pathlib import Path

import grpc

from demo.server_process import ServerProcess
from finesieve.v1 import (
    passages_pb2,
    rerank_pb2,
    retrieval_pb2,
)
from tests.conftest import StartServer
from tests.e2e.conftest import logged_call
from tests.e2e.requests import (
    CREATE,
    GET_COLLECTION,
    RERANK,
    RETRIEVE,
    UPSERT,
    rerank,
    values,
)
from tests.server.rpc.wire import Outcome, Wire


async def test_a_deadline_that_nobody_could_keep_is_refused_before_any_scoring(
    server: ServerProcess, wire: Wire
) -> None:
    texts = [f"{number} " + "many words in a row " * 100 for number in range(1_000)]
    started = time.monotonic()
    await wire.ask(RERANK, rerank("query", *texts[:50]), rerank_pb2.RerankResponse)
    timeout = 4 * (time.monotonic() - started)  # a fifth of what a thousand take
    request_id = secrets.token_hex(8)

    outcome = await wire.call(
        RERANK,
        rerank("query", *texts),
        timeout=timeout,
        metadata=(("x-request-id", request_id),),
    )

    assert outcome.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert outcome.reason == "DEADLINE_TOO_SHORT"
    assert float(outcome.detail("ErrorInfo").metadata["estimate_ms"]) > 0
    assert logged_call(server, request_id)["queue_us"] == 0


async def test_a_damaged_store_answers_data_loss_and_the_others_serve(
    start_server: StartServer, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    first = start_server("--models", "none", data_dir=data_dir)
    async with Wire(first.address) as wire:
        stores = []
        for name in ("broken", "whole"):
            create = retrieval_pb2.CreateCollectionRequest(
                name=name, caller_embeds=True, dimension=2
            )
            await wire.ask(CREATE, create, retrieval_pb2.CreateCollectionResponse)
            stores.append(set(data_dir.glob("collections/*/store.db")))
            passage = passages_pb2.Passage(id="a", text="a", embedding=values(1.0, size=2))
            await wire.ask(
                UPSERT,
                retrieval_pb2.UpsertPassagesRequest(collection=name, passages=[passage]),
                retrieval_pb2.UpsertPassagesResponse,
            )
    first.stop()
    [store] = stores[0]
    with store.open("r+b") as file:
        file.write(b"no database any more" * 100)

    second = start_server("--models", "none", data_dir=data_dir)
    async with Wire(second.address) as wire:

        async def retrieve(name: str) -> Outcome:
            request = retrieval_pb2.RetrieveRequest(collection=name, embedding=values(1.0, size=2))
            return await wire.call(RETRIEVE, request)

        broken = await retrieve("broken")
        whole = await retrieve("whole")
        described = await wire.ask(
            GET_COLLECTION,
            retrieval_pb2.GetCollectionRequest(name="broken"),
            retrieval_pb2.GetCollectionResponse,
        )

    assert (broken.code, broken.reason) == (grpc.StatusCode.DATA_LOSS, "DATA_LOSS")
    assert described.collection.state == passages_pb2.COLLECTION_STATE_DAMAGED
    assert whole.ok


async def test_a_stopping_server_answers_who_is_inside(start_server: StartServer) -> None:
    server = start_server()
    # No pair twice, or it would be scored once and the calls be over before they are seen.
    requests = [
        rerank("query", *(f"{caller} {at} " + "many words in a row " * 50 for at in range(40)))
        for caller in range(4)
    ]
    async with Wire(server.address) as wire:
        inside = [asyncio.create_task(wire.call(RERANK, request)) for request in requests[:3]]
        async with asyncio.timeout(60):
            while not await in_flight(server):  # noqa: ASYNC110 - another process counts them
                await asyncio.sleep(0)
        stopped = asyncio.create_task(asyncio.to_thread(server.stop))
        outcomes = await asyncio.gather(*inside)
        late = await wire.call(RERANK, requests[3])

    assert all(outcome.ok for outcome in outcomes), outcomes
    assert late.code is grpc.StatusCode.UNAVAILABLE
    assert await stopped == 0


async def in_flight(server: ServerProcess) -> bool:
    """Return whether three calls are inside, by the metrics' word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.metrics_port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    page = await reader.read()
    writer.close()
    return b"finesieve_calls_in_flight 3.0" in page
