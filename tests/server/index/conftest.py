"""Give each test a catalog of its own in a fresh directory, and where needed a small disk."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from tests.server.index.corpus import spec


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = await Catalog.open(tmp_path / "data")
    yield opened
    await opened.close()


@pytest.fixture
async def collection(catalog: Catalog) -> Collection:
    return await catalog.create(spec())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
