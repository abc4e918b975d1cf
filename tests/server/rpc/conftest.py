from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from finesieve_server.index.catalog import Catalog
from tests.server.rpc.parts import serving_over
from tests.server.rpc.wire import Wire

Serve = Callable[..., AbstractAsyncContextManager[Wire]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return a context that serves over an empty index and the parts it is given."""

    @asynccontextmanager
    async def serve_parts(**options: Any) -> AsyncIterator[Wire]:
        catalog = await Catalog.open(tmp_path)
        serving = serving_over(catalog, **options)
        port = await serving.start()
        await serving.set_ready()
        async with Wire(f"127.0.0.1:{port}") as wire:
            yield wire
        await serving.stop()
        await catalog.close()

    return serve_parts
