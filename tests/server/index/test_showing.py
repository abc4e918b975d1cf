"""A search sees the store and the vectors in one state, whatever is between the two."""

import threading

import pytest

from finesieve_server.index.showing import Showing

WAIT_S = 5


def test_a_search_waits_for_the_move_that_its_store_has_and_no_other() -> None:
    showing, committed, shown = Showing(), threading.Event(), threading.Event()

    def write() -> None:
        with showing.showing(7, moves=True):
            committed.set()
            assert shown.wait(WAIT_S)

    writing = threading.Thread(target=write)
    writing.start()
    assert committed.wait(WAIT_S)

    showing.wait_for(6)  # has not the move: need not wait for it
    assert not showing.shows_beyond(6)
    waiting = threading.Thread(target=showing.wait_for, args=(7,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    shown.set()
    waiting.join(WAIT_S)
    writing.join(WAIT_S)

    assert not waiting.is_alive()
    assert showing.shows_beyond(6)
    assert not showing.shows_beyond(7)


def test_a_write_that_fails_or_moves_nothing_disturbs_nobody() -> None:
    showing = Showing()

    with pytest.raises(OSError, match="full"), showing.showing(7, moves=True):
        raise OSError("full")
    with showing.showing(8, moves=False):
        showing.wait_for(8)

    showing.wait_for(9)
    assert not showing.shows_beyond(0)


def test_while_all_is_still_no_write_commits() -> None:
    showing, committed = Showing(), threading.Event()

    def write() -> None:
        with showing.showing(7, moves=True):
            committed.set()

    writing = threading.Thread(target=write)
    with showing.still():
        writing.start()
        assert not committed.wait(0.05)

    assert committed.wait(WAIT_S)
    writing.join(WAIT_S)
