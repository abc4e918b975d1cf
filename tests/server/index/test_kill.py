"""What is acknowledged survives kill -9 at any moment, whole, and the index equals the store."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import numpy as np
import pytest

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.filters import Match
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import View
from tests.server.index.corpus import DIMENSION, ids
from tests.server.index.writer_process import apply, embedding

LONGEST_RUN_S = 0.6


async def test_a_killed_server_has_lost_nothing_halved_nothing_and_revived_nothing(
    tmp_path: Path, repetitions: Callable[[int, int], int]
) -> None:
    random = np.random.default_rng(4)
    state: dict[str, int] = {}
    done = 0  # operations that are in the store

    for kill in range(repetitions(8, 1000)):
        acknowledged = run_and_kill(tmp_path / "data", done, random.uniform(0, LONGEST_RUN_S))
        assert acknowledged == list(range(done, done + len(acknowledged)))
        for number in acknowledged:
            state = apply(state, number)
        done += len(acknowledged)
        # The one under way may be in the store, whole, though nobody was told.
        with_one_more = apply(state, done)

        catalog = await Catalog.open(tmp_path / "data")
        if not await catalog.page("", 1):
            assert not state, f"kill {kill}: the collection is gone"
            await catalog.close()
            continue
        collection = await catalog.get("docs")
        stored = await stored_state(collection)
        assert stored in (state, with_one_more), f"kill {kill} after operation {done - 1}"
        if stored != state:
            state, done = with_one_more, done + 1
        await require_equal_index(collection, state)
        if kill % 2:
            await catalog.close()  # saves the index; without, the next one starts from a crash
        else:
            abandon(catalog)
        require_sound_store(tmp_path / "data")

    assert done > 10, "too little was written for the test to mean anything"


def run_and_kill(data_dir: Path, number: int, after_s: float) -> list[int]:
    """Let a process write from operation `number` on; return what it acknowledged when killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server.index.writer_process", str(data_dir), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "opening\n", process.communicate()[1]
    time.sleep(after_s)  # the moment of the kill is the one thing here that has to be a time
    process.send_signal(signal.SIGKILL)
    output, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    told = [line.removeprefix("done ") for line in output.splitlines() if line.startswith("done ")]
    return [int(number) for number in told]


async def stored_state(collection: Collection) -> dict[str, int]:
    page, more = await collection.page("", 10**6, 1 << 40, None, View.FULL)
    assert not more
    assert (await collection.info()).passage_count == len(page)
    assert len({passage.id for passage in page}) == len(page), "no duplicates"
    for passage in page:
        assert passage.text == f"by {passage.metadata['by']}"
    return {passage.id: int(passage.text.removeprefix("by ")) for passage in page}


async def require_equal_index(collection: Collection, state: dict[str, int]) -> None:
    """Every passage is found by its own vector, nothing else is, and filters agree."""
    probes = list(state)[:: max(1, len(state) // 50)]
    queries = np.array([embedding(id_, state[id_]) for id_ in probes]).reshape(-1, DIMENSION)
    for exact in (False, True):
        found = await collection.search(queries, 10, exact=exact)
        assert [ids(row)[0] for row in found] == probes
        assert all(row[0].score == pytest.approx(1, abs=1e-6) for row in found)
    exact_rows = await collection.search(queries, len(state) + 10, exact=True, view=View.ID)
    for row in exact_rows[:3]:
        assert sorted(ids(row)) == sorted(state)
    near = await collection.search(queries, 10, ef_search=200)
    truth = [ids(row)[:10] for row in exact_rows]
    hits = sum(len(set(ids(row)) & set(best)) for row, best in zip(near, truth, strict=True))
    assert hits >= 0.995 * sum(map(len, truth))
    for bucket in (0, 1):
        page, _ = await collection.page("", 10**6, 1 << 40, Match("bucket", [bucket]), View.ID)
        assert {passage.id for passage in page} == {
            id_ for id_ in state if int(id_[1:]) % 40 == bucket
        }


def abandon(catalog: Catalog) -> None:
    """Let go of the files as a kill would: without saving anything."""
    for collection in catalog._collections.values():
        collection.let_go(save=False)
    catalog._shared.readers.shutdown()
    catalog._directory.close()


def require_sound_store(data_dir: Path) -> None:
    [folder] = (data_dir / "collections").iterdir()
    for path in (data_dir / "catalog.db", folder / "store.db"):
        database = apsw.Connection(str(path))
        assert database.execute("PRAGMA integrity_check").get == "ok"
        database.close()
    store = apsw.Connection(str(folder / "store.db"))
    for table in ("contents", "passage_fields", "passage_tokens"):
        orphans = f"SELECT count(*) FROM {table} WHERE label NOT IN (SELECT label FROM passages)"
        assert store.execute(orphans).get == 0
    passages = store.execute("SELECT count(*) FROM passages").get
    for table in ("contents", "passage_tokens"):
        assert store.execute(f"SELECT count(*) FROM {table}").get == passages
    reader = Reader(store)
    reader.lexical.require_equal(reader.labels_to_retrieve(), reader.texts)
    store.close()
