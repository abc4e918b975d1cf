"""Servers that create a collection of one name at a time: one does, and it keeps its passages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finesieve_server.errors import AlreadyExists
from finesieve_server.index.milvus.catalog import Catalog
from finesieve_server.index.milvus.connection import Address, Caller, Connection
from finesieve_server.index.records import View
from tests.server.index.corpus import embeddings, passages, spec


@dataclass(frozen=True, slots=True)
class Late(Caller):
    """A server that asked whether there is a collection just before another created it."""

    def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        if method == "has_collection":
            return False
        return super(Late, self).__call__(method, *arguments, **options)


class LateConnection(Connection):
    async def run(self, work: Any, collection: str, executor: Any = None) -> Any:
        def late(call: Caller) -> Any:
            return work(Late(call.client, call.address, call.collection))

        return await super().run(late, collection, executor)


@pytest.mark.parametrize("dimension", [32, 16])
async def test_a_creation_that_comes_late_leaves_the_other_as_it_is(
    tmp_path: Path, dimension: int
) -> None:
    address = Address(str(tmp_path / "milvus.db"))
    catalog = await Catalog.open(address)
    docs = await catalog.create(spec())
    await docs.upsert(passages(3), list(embeddings(3)))
    late = Catalog(LateConnection(address))

    with pytest.raises(AlreadyExists):
        await late.create(spec(dimension=dimension))

    assert len(await docs.get(["p00000", "p00001", "p00002"], View.ID)) == 3
    await late.close()
    await catalog.close()
