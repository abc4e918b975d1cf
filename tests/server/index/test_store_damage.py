"""Whatever befalls one store, its collection answers or says DataLoss, and the others serve."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import numpy as np
import pytest

from finesieve_server.errors import DataLoss
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.filters import Match
from finesieve_server.index.records import Passage, View
from tests.server.index.corpus import embeddings, ids, passages, spec

COUNT = 600
VECTORS = embeddings(COUNT)
PAGE = 4096


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("written") / "data"

    async def write() -> None:
        catalog = await Catalog.open(data_dir)
        for name in ("damaged", "sound"):
            collection = await catalog.create(spec(name))
            await collection.upsert(passages(COUNT), list(VECTORS), {"key": [b"read"] * COUNT})
            await collection.delete([f"p{number:05}" for number in range(100, 200)])
        await catalog.close()

    asyncio.run(write())
    return data_dir


def flip_a_bit(path: Path, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << int(random.integers(8))
    path.write_bytes(content)


def lose_pages(path: Path, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for at in random.integers(len(content) // PAGE, size=random.integers(1, 5)).tolist():
        content[at * PAGE : (at + 1) * PAGE] = random.bytes(PAGE)
    path.write_bytes(content)


def truncate(path: Path, random: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes()[: random.integers(path.stat().st_size)])


def swap_pages(path: Path, random: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    one, other = (random.choice(len(content) // PAGE, 2, replace=False) * PAGE).tolist()
    kept = content[one : one + PAGE]
    content[one : one + PAGE] = content[other : other + PAGE]
    content[other : other + PAGE] = kept
    path.write_bytes(content)


DAMAGES = (flip_a_bit, lose_pages, truncate, swap_pages)


async def test_a_damaged_store_answers_or_says_data_loss_and_the_others_serve(
    written: Path,
    tmp_path: Path,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(repetitions(24, 1000)):
        random = np.random.default_rng(seed)
        data_dir = tmp_path / str(seed)
        shutil.copytree(written, data_dir)
        damage = DAMAGES[seed % 4]
        damage(store_of(data_dir, "damaged"), random)

        catalog = await Catalog.open(data_dir)

        told = f"seed {seed}: {damage.__name__}"
        sound = await catalog.get("sound")
        [found] = await sound.search(VECTORS[7:8], 1)
        assert ids(found) == ["p00007"], told
        outcomes[f"{damage.__name__} {await outcome(catalog, told)}"] += 1
        await catalog.close()
        shutil.rmtree(data_dir)
    report(f"{dict(sorted(outcomes.items()))}")
    assert sum(number for name, number in outcomes.items() if "data loss" in name) > 0


def store_of(data_dir: Path, name: str) -> Path:
    catalog = apsw.Connection(str(data_dir / "catalog.db"))
    uid: str = catalog.execute("SELECT uid FROM collections WHERE name = ?", (name,)).get
    catalog.close()
    return data_dir / "collections" / uid / "store.db"


async def outcome(catalog: Catalog, told: str) -> str:
    """Ask the damaged collection everything; return whether it said DataLoss at any time."""
    collection = await catalog.get("damaged")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: collection.get(["p00001", "p00599", "p00150"], View.WITH_EMBEDDING),
        lambda: collection.page("", COUNT, 1 << 30, Match("number", [3, 300]), View.FULL),
        lambda: collection.page("p00100", COUNT, 1 << 30, None, View.FULL),
        lambda: collection.search(VECTORS[:20], 10, tokens_of="key"),
        lambda: collection.search(VECTORS[:3], 10, filter=Match("number", [2])),
        lambda: collection.search_lexical(["text of 500"], 10),
        lambda: collection.upsert([Passage("p00300", text="new")], [VECTORS[0]]),
        lambda: collection.delete_where(Match("number", [400, 401])),
    ]
    said = "answers"
    for number, call in enumerate(calls):
        try:
            await call()
        except DataLoss:
            said = "data loss"
        except Exception as error:
            raise AssertionError(f"{told}, call {number}: {error!r}") from error
    return said
