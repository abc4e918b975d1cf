import os
from collections.abc import AsyncIterator, Iterator

import pytest

# Before Haystack is imported, which would report its use to its makers.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from demo.server_process import ServerProcess
from finesieve_client import AsyncClient, Client, passage
from tests.client.integrations.animals import ANIMALS, COLLECTION


@pytest.fixture(scope="session")
def address(server: ServerProcess) -> str:
    """Return the server's address, with a collection of ANIMALS as one document."""
    with Client(server.address) as client:
        client.create_collection(COLLECTION)
        client.upsert_passages(
            COLLECTION,
            [
                passage(
                    name,
                    text,
                    title=name.title(),
                    document_id="animals",
                    ordinal=at,
                    metadata={"legs": {"bee": 6, "camel": 4}.get(name, 0)},
                )
                for at, (name, text) in enumerate(ANIMALS.items())
            ],
        )
    return server.address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as opened:
        yield opened


@pytest.fixture
async def async_client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as opened:
        yield opened
