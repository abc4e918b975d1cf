"""A wire to the shared server, and what its log says of a call."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from demo.server_process import ServerProcess
from finesieve.v1 import passages_pb2, rerank_pb2, retrieval_pb2
from tests.e2e.requests import COLLECTION, CREATE, RERANK, TEXTS, UPSERT, rerank
from tests.server.rpc.wire import Wire


@pytest.fixture
async def wire(server: ServerProcess) -> AsyncIterator[Wire]:
    async with Wire(server.address) as wire:
        yield wire


def logged_call(server: ServerProcess, request_id: str) -> dict[str, Any]:
    """Return the log line of a call that has been answered."""
    for line in reversed(server.log_path.read_text(encoding="utf-8").splitlines()):
        if f'"{request_id}"' in line:
            record: dict[str, Any] = json.loads(line)
            return record
    raise AssertionError(f"no line of {request_id} in {server.log_path}")


@pytest.fixture(scope="session")
def filled(server: ServerProcess) -> None:
    """Make a collection of a few passages on the shared server."""

    async def fill() -> None:
        async with Wire(server.address) as wire:
            await wire.ask(
                CREATE,
                retrieval_pb2.CreateCollectionRequest(name=COLLECTION),
                retrieval_pb2.CreateCollectionResponse,
            )
            passages = [
                passages_pb2.Passage(id=f"p{at}", text=text, metadata={"at": at})
                for at, text in enumerate(TEXTS)
            ]
            await wire.ask(
                UPSERT,
                retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=passages),
                retrieval_pb2.UpsertPassagesResponse,
            )

    asyncio.run(fill())


@pytest.fixture
async def alive(server: ServerProcess) -> AsyncIterator[None]:
    """After the test, the shared server still answers as before."""
    yield
    async with Wire(server.address) as wire:
        answer = await wire.ask(RERANK, rerank("eels", *TEXTS), rerank_pb2.RerankResponse)
    assert answer.results[0].index == 0
