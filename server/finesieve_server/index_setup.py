"""Open the index that the settings name: the one inside this process, or Milvus."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from finesieve_server.config import Settings
from finesieve_server.index.catalog import Catalog as EmbeddedCatalog
from finesieve_server.model_setup import CannotStart, count_threads
from finesieve_server.search import token_keeper
from finesieve_server.search.index import Catalog


@dataclass(frozen=True, slots=True)
class Index:
    """An open index, and how it is closed."""

    catalog: Catalog
    close: Callable[[], Awaitable[None]]
    place: str  # where the passages lie, for the log
    keeps_tokens: token_keeper.Catalog | None  # the same catalog, where passages bring tokens


async def open_index(settings: Settings) -> Index:
    """Open it. Raises CannotStart, FailedPrecondition, Unavailable."""
    if settings.index == "milvus":
        return await _open_milvus(settings)
    embedded = await EmbeddedCatalog.open(settings.data_dir, threads=count_threads(settings))
    return Index(embedded, embedded.close, str(settings.data_dir), embedded)


async def _open_milvus(settings: Settings) -> Index:
    if not settings.milvus_uri:
        raise CannotStart("milvus_uri: is needed with --index milvus, such as http://milvus:19530")
    try:
        from finesieve_server.index.milvus.catalog import Catalog as MilvusCatalog
        from finesieve_server.index.milvus.connection import Address
    except ModuleNotFoundError as missing:
        raise CannotStart(
            f"index: milvus needs {missing.name}; run pip install 'finesieve[server,milvus]'"
        ) from None
    address = Address(
        settings.milvus_uri,
        token=settings.milvus_token.get_secret_value(),
        database=settings.milvus_database,
        timeout_s=settings.milvus_timeout_s,
        consistency=settings.milvus_consistency,
    )
    milvus = await MilvusCatalog.open(address)
    return Index(milvus, milvus.close, str(address), keeps_tokens=None)
