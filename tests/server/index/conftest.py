"""Give each test a catalog of its own in a fresh directory, and where needed a small disk."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from tests.server.index.corpus import spec
from tests.server.index.disk import Disk, LimitedFiles, SmallDisk, can_mount


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = await Catalog.open(tmp_path / "data")
    yield opened
    await opened.close()


@pytest.fixture
async def collection(catalog: Catalog) -> Collection:
    return await catalog.create(spec())


@pytest.fixture(params=[SmallDisk, LimitedFiles] if can_mount() else [LimitedFiles])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with request.param(tmp_path / "disk") as opened:
        yield opened
