"""The folders of collections."""

import time
from pathlib import Path
from threading import Event, Thread

import apsw

from finesieve_server.errors import FinesieveError
from finesieve_server.index.database import connect
from finesieve_server.index.folders import STORE, remove
from finesieve_server.index.store import Store

REMOVALS = 100


def test_a_folder_is_removed_while_another_process_reads_its_store(tmp_path: Path) -> None:
    folders = [tmp_path / f"{number:032x}" for number in range(REMOVALS)]
    for folder in folders:
        folder.mkdir()
        Store.create(folder / STORE, folder.name)
    stop = Event()
    reading = folders[0]
    reads = 0

    def read() -> None:  # each opens a log beside the store, and removes it at the end
        nonlocal reads
        while not stop.is_set():
            try:
                connection = connect(reading / STORE)
                try:
                    connection.execute("SELECT count(*) FROM passages").fetchall()
                finally:
                    connection.close()
            except (FinesieveError, apsw.Error, OSError):
                continue  # it is being removed
            reads += 1

    reader = Thread(target=read)
    reader.start()
    try:
        for folder in folders:
            reading, before = folder, reads
            while reads < before + 2:
                time.sleep(0)
            remove(folder)
            assert not folder.exists()
    finally:
        stop.set()
        reader.join()
