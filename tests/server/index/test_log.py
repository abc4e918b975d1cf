"""The store's log stays short, whatever reads overlap, and a read that stays stops no writer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from finesieve_server.index import store as store_module
from finesieve_server.index.records import Passage
from finesieve_server.index.store import Store

LIMIT = 1 << 20
BATCH_BYTES = 200_000


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(store_module, "CHECKPOINT_BYTES", LIMIT // 4)
    monkeypatch.setattr(store_module, "LOG_LIMIT_BYTES", LIMIT)
    monkeypatch.setattr(store_module, "LOG_WAIT_MS", 500)
    Store.create(tmp_path / "store.db", "uid")
    opened = Store(tmp_path / "store.db")
    yield opened
    opened.close()


def write(store: Store, number: int) -> int:
    """Add a passage, shorten the log, and return how long it is or was."""
    with store.writing() as writer:
        writer.add([Passage(f"p{number}", text="." * BATCH_BYTES)], [None])
    store.shorten_log()
    return store.path.with_name("store.db-wal").stat().st_size


def test_the_log_stays_short_while_reads_overlap(store: Store) -> None:
    stop = threading.Event()

    def overlap() -> int:
        """Never be without a read."""
        reads, last = 0, ExitStack()
        while not stop.is_set():
            following = ExitStack()
            following.enter_context(store.reading()).last_label()
            last.close()
            last, reads = following, reads + 1
            stop.wait(0.001)
        last.close()
        return reads

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(overlap)
        longest = max(write(store, number) for number in range(50))
        stop.set()

    assert reading.result() > 1
    assert longest < 2 * LIMIT, "of ten times that in all"


def test_a_read_that_stays_lets_writers_go_on_and_the_log_starts_over_after_it(
    store: Store,
) -> None:
    with store.reading() as reader:
        before = reader.last_label()
        grown = max(write(store, number) for number in range(20))
        assert reader.last_label() == before
    assert grown > 2 * LIMIT, "else this shows nothing"

    grown_by = [write(store, number) - grown for number in range(20, 60)]

    assert max(grown_by) < 2 * LIMIT
    assert grown_by[-1] == grown_by[-20], "it starts over, in the same file"
