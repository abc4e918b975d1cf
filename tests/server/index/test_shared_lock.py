"""Readers together, writers alone, nobody starved."""

import threading

from finesieve_server.index.shared_lock import SharedLock


def test_readers_hold_it_together() -> None:
    lock, together = SharedLock(), threading.Barrier(3)

    def read() -> None:
        with lock.shared():
            together.wait(5)

    run(read, read, read)


def test_a_writer_is_alone() -> None:
    lock, inside, seen = SharedLock(), [0], []

    def read() -> None:
        for _ in range(2000):
            with lock.shared():
                seen.append(inside[0])

    def write() -> None:
        for _ in range(2000):
            with lock.exclusive():
                inside[0] += 1
                inside[0] -= 1

    run(read, read, write, write)

    assert set(seen) == {0}


def test_a_writer_gets_in_while_readers_never_pause() -> None:
    lock, written = SharedLock(), threading.Event()

    def read() -> None:
        while not written.is_set():
            with lock.shared():
                pass

    def write() -> None:
        for _ in range(500):
            with lock.exclusive():
                pass
        written.set()

    run(read, read, read, write)


def test_a_reader_that_waits_gets_in_before_the_next_writer() -> None:
    lock = SharedLock()
    first_writes, reader_waits, order = threading.Event(), threading.Event(), []

    def write_first() -> None:
        with lock.exclusive():
            first_writes.set()
            reader_waits.wait(5)
            wait_until(lambda: lock._waiting_readers == 1 and lock._waiting_writers == 1)

    def read() -> None:
        first_writes.wait(5)
        reader_waits.set()
        with lock.shared():
            order.append("reader")

    def write_second() -> None:
        first_writes.wait(5)
        with lock.exclusive():
            order.append("writer")

    run(write_first, read, write_second)

    assert order == ["reader", "writer"]


def wait_until(condition: object) -> None:
    assert callable(condition)
    while not condition():
        threading.Event().wait(0.001)


def run(*works: object) -> None:
    threads = [threading.Thread(target=work) for work in works]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
