"""The engines that stand behind search/index.py, and what Milvus promises less."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from finesieve_server.index import catalog as embedded
from finesieve_server.index import collection as embedded_collection
from finesieve_server.index.milvus import catalog as milvus
from finesieve_server.index.milvus import collection as milvus_collection
from finesieve_server.index.milvus.connection import Address

Catalog: TypeAlias = embedded.Catalog | milvus.Catalog
Collection: TypeAlias = embedded_collection.Collection | milvus_collection.Collection
Open: TypeAlias = Callable[[Path], Awaitable[Catalog]]


async def open_embedded(folder: Path) -> Catalog:
    catalog = await embedded.Catalog.open(folder / "data")
    await catalog.started()
    return catalog


async def open_milvus(folder: Path) -> Catalog:
    return await milvus.Catalog.open(Address(str(folder / "milvus.db"), timeout_s=60))


ENGINES: Mapping[str, Open] = {"embedded": open_embedded, "milvus": open_milvus}
