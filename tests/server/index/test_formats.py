"""What an earlier version wrote opens, whole; an upgrade that does not finish has not begun."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
import structlog

from finesieve_server.errors import FailedPrecondition
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.filters import Match
from finesieve_server.index.formats import upgrade
from finesieve_server.index.progress import Progress, logged
from finesieve_server.index.records import View
from finesieve_server.index.store import FORMAT, Store
from tests.server.index.corpus import embeddings, ids, passages
from tests.server.index.format_1 import write_directory

COUNT = 50


@pytest.mark.parametrize("with_tokens", [False, True])
async def test_a_directory_of_format_1_opens_with_everything_and_takes_writes(
    tmp_path: Path, with_tokens: bool
) -> None:
    vectors = embeddings(COUNT + 5)
    write_directory(tmp_path, vectors[:COUNT], with_tokens=with_tokens)

    catalog = await Catalog.open(tmp_path)
    collection = await catalog.get("docs")

    info = await collection.info()
    assert (info.passage_count, info.update_time.microsecond) == (COUNT, 2)
    page, more = await collection.page("", COUNT, 1 << 30, None, View.WITH_EMBEDDING)
    assert not more
    for number, passage in enumerate(page):
        assert passage.id == f"p{number:05}"
        assert passage.text == f"text of {number}"
        assert passage.title == f"title {number}"
        assert passage.metadata == {"number": number}
        assert passage.document_id == f"d{number // 10}"
        assert passage.ordinal == number % 10
        assert passage.parent_id == f"parent{number % 2}"
        assert passage.embedding is not None
        assert passage.embedding.tolist() == vectors[number].tolist()
    [found] = await collection.search(vectors[7:8], 1, tokens_of="key")
    assert ids([found[0]]) == ["p00007"]
    assert found[0].tokens == (b"read" if with_tokens else None)
    [found] = await collection.search(vectors[7:8], 1, filter=Match("number", [8]))
    assert ids(found) == ["p00008"]
    [found] = await collection.search_lexical(["TEXT 7"], 1)
    assert ids(found) == ["p00007"]
    await collection.upsert(passages(5, COUNT), list(vectors[COUNT:]), {"key": [b"new"] * 5})
    await catalog.close()
    catalog = await Catalog.open(tmp_path)
    assert (await (await catalog.get("docs")).info()).passage_count == COUNT + 5
    await catalog.close()


@pytest.mark.parametrize("with_tokens", [False, True])
def test_an_upgraded_store_is_made_like_a_new_one(tmp_path: Path, with_tokens: bool) -> None:
    old = write_directory(tmp_path / "data", embeddings(3), with_tokens=with_tokens)
    Store.create(tmp_path / "new.db", "uid")

    with structlog.testing.capture_logs() as log:
        store = Store(old)
        store.upgrade(logged("opening"))
        store.close()

    assert structure_of(old) == structure_of(tmp_path / "new.db")
    assert (log[0]["event"], log[0]["to"]) == ("upgrade started", FORMAT)
    assert log[-1]["event"] == "upgrade finished"


def structure_of(path: Path) -> tuple[int, set[tuple[str, ...]]]:
    """Return a database's format, and its tables' columns and its indexes, without comments."""
    database = apsw.Connection(str(path))
    columns = database.execute(
        "SELECT m.type, m.name, c.name, c.type, c.[notnull], c.pk FROM sqlite_schema m"
        " JOIN pragma_table_xinfo(m.name) c"
    ).fetchall()
    indexes = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index'")
    structure = {tuple(map(str, row)) for row in [*columns, *indexes]}
    number = database.execute("PRAGMA user_version").get
    database.close()
    return number, structure


def test_an_upgrade_that_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = database_of_format_1(tmp_path)
    before = structure_of(path)
    database = apsw.Connection(str(path))

    def half(connection: apsw.Connection, progress: Progress) -> None:
        connection.execute("CREATE TABLE more (value)")

    def failing(connection: apsw.Connection, progress: Progress) -> None:
        connection.execute("DROP TABLE rows")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        upgrade(database, path, 3, {1: half, 2: failing}, logged("upgrade"))
    database.close()

    assert structure_of(path) == before


SLOW_UPGRADE = """
import sys, time
from pathlib import Path
from finesieve_server.index.database import connect
from finesieve_server.index.formats import upgrade
from finesieve_server.index.progress import logged

def step(connection, progress):
    connection.execute("CREATE TABLE copies AS SELECT value FROM rows")
    print("half way", flush=True)
    time.sleep(60)

path = Path(sys.argv[1])
database = connect(path, cache_bytes=1 << 16)  # most of it is on the disk
upgrade(database, path, 2, {1: step}, logged("upgrade"))
"""


def test_an_upgrade_that_is_killed_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = database_of_format_1(tmp_path)
    before = structure_of(path)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_UPGRADE, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert "half way\n" in process.stdout

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert structure_of(path) == before
    database = apsw.Connection(str(path))
    assert database.execute("PRAGMA integrity_check").get == "ok"
    assert database.execute("SELECT count(*) FROM rows").get == 20_000
    database.close()


def database_of_format_1(folder: Path) -> Path:
    path = folder / "rows.db"
    database = apsw.Connection(str(path))
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE rows (value)")
    database.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
        " INSERT INTO rows SELECT i FROM n"
    )
    database.execute("PRAGMA user_version = 1")
    database.close()
    return path


def test_a_newer_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = database_of_format_1(tmp_path)
    database = apsw.Connection(str(path))
    database.execute("PRAGMA user_version = 7")

    with pytest.raises(FailedPrecondition, match="reads formats up to 2: open it with the version"):
        upgrade(database, path, 2, {}, logged("upgrade"))

    database.close()
