"""Run each test of the contract over every engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.index.contract.engines import ENGINES, Catalog, Collection, Open
from tests.server.index.contract.promises import MILVUS_PROMISES_LESS
from tests.server.index.corpus import spec


@pytest.fixture(params=ENGINES)
def open_catalog(request: pytest.FixtureRequest) -> Open:
    less = MILVUS_PROMISES_LESS.get(request.function.__name__)
    if request.param == "milvus" and less is not None:
        request.applymarker(
            pytest.mark.xfail(reason=less.instead, strict=True, run=not less.is_chance)
        )
    return ENGINES[request.param]


@pytest.fixture
async def catalog(open_catalog: Open, tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = await open_catalog(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def collection(catalog: Catalog) -> Collection:
    return await catalog.create(spec())
