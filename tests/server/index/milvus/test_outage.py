"""A Milvus that goes away and comes back: a server of milvus-lite, killed."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from finesieve_server.errors import Unavailable
from finesieve_server.index.milvus.catalog import Catalog
from finesieve_server.index.milvus.connection import Address
from finesieve_server.index.records import View
from tests.server.index.corpus import embeddings, ids, passages, spec

PATIENCE_S = 60


class Milvus:
    """A process that can be killed and started again over the same data."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder = folder
        self.address = Address(f"http://127.0.0.1:{self._port}", timeout_s=5)
        self.start()

    def start(self) -> None:
        options = ["--data-dir", str(self._folder), "--port", str(self._port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "milvus_lite", "server", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[Milvus]:
    started = Milvus(tmp_path / "milvus")
    yield started
    started.kill()


@pytest.fixture
async def catalog(milvus: Milvus) -> AsyncIterator[Catalog]:
    opened = await open_patiently(milvus.address)
    yield opened
    await opened.close()


async def open_patiently(address: Address) -> Catalog:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await Catalog.open(address)
        except Unavailable:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.2)


async def test_calls_are_unavailable_until_it_is_back_and_nothing_is_lost(
    milvus: Milvus, catalog: Catalog
) -> None:
    vectors = embeddings(20)
    collection = await catalog.create(spec())
    await collection.upsert(passages(20), list(vectors))

    milvus.kill()

    for call in (
        collection.search(vectors[:1], 1),
        collection.upsert(passages(1), list(vectors[:1])),
        collection.get(["p00001"], view=View.ID),
        catalog.page("", 10),
    ):
        with pytest.raises(Unavailable) as refusal:
            await call
        assert refusal.value.retry_after_s == 1.0

    milvus.start()
    give_up = time.monotonic() + PATIENCE_S
    found: list[str] = []
    while not found:
        assert time.monotonic() < give_up
        try:
            [hits] = await (await catalog.get("docs")).search(vectors[7:8], 1)
            found = ids(hits)
        except Unavailable:
            await asyncio.sleep(0.2)
    assert found == ["p00007"]
