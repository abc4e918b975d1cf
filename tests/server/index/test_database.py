"""An error counts as damage where SQLite says so, and not where it cannot say."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from finesieve_server.errors import DataLoss
from finesieve_server.index import database
from finesieve_server.index.database import connect, translated

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "made.db"
    connection = connect(made, create=True)
    connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, text TEXT)")
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
        " INSERT INTO numbers SELECT i, hex(zeroblob(50)) FROM n"
    )
    connection.close()
    return made


@pytest.fixture
def connection(path: Path) -> Iterator[apsw.Connection]:
    opened = connect(path)
    yield opened
    opened.close()


def test_a_mistake_of_ours_is_no_damage(path: Path, connection: apsw.Connection) -> None:
    with pytest.raises(KeyError), translated(path, connection):
        raise KeyError("ours")
    with pytest.raises(apsw.SQLError), translated(path, connection):
        connection.execute("SELECT nothing FROM numbers")


@pytest.fixture
def damaged(path: Path) -> Iterator[apsw.Connection]:
    content = bytearray(path.read_bytes())
    content[-5 * PAGE : -4 * PAGE] = bytes(range(256)) * (PAGE // 256)
    path.write_bytes(content)
    opened = connect(path)
    yield opened
    opened.close()


def test_nonsense_in_a_damaged_file_is_its_damage(path: Path, damaged: apsw.Connection) -> None:
    with pytest.raises(DataLoss, match="damaged"), translated(path, damaged):
        raise KeyError("read from the file")


def test_a_look_that_takes_long_is_given_up(
    path: Path, damaged: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECK_S", -1.0)
    monkeypatch.setattr(database, "CHECK_STEPS", 10)

    with pytest.raises(KeyError), translated(path, damaged):
        raise KeyError("ours")

    assert damaged.execute("SELECT text FROM numbers WHERE number = 1").get, "and others go on"


def test_a_look_that_cannot_be_made_is_no_damage(path: Path, connection: apsw.Connection) -> None:
    connection.set_progress_handler(lambda: True, 1)  # as of a caller who has given up
    with pytest.raises(KeyError), translated(path, connection):
        raise KeyError("ours")
    connection.close()
    with pytest.raises(apsw.ConnectionClosedError), translated(path, connection):
        connection.execute("SELECT 1")
