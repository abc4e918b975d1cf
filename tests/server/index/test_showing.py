"""A search sees the store and the vectors in one state, whatever is between the two."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from finesieve_server.index.collection import Collection
from finesieve_server.index.filters import Match
from finesieve_server.index.records import Labels, View
from finesieve_server.index.showing import Showing
from tests.server.index.corpus import embeddings, ids, passages

WAIT_S = 5
COUNT = 50
SEARCHERS = 3


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_look_waits_for_the_move_that_is_on_its_way(thread: ThreadPoolExecutor) -> None:
    showing = Showing()

    with showing.showing(moves=True):
        looking = thread.submit(showing.moves)
        with pytest.raises(TimeoutError):
            looking.result(0.05)

    assert not showing.moved_since(looking.result(WAIT_S))


def test_a_move_disturbs_whoever_began_before_from_its_commit_on() -> None:
    showing = Showing()
    before = showing.moves()

    with showing.showing(moves=True):
        assert showing.moved_since(before), "the vectors may already show it"

    assert showing.moved_since(before)
    assert not showing.moved_since(showing.moves())


def test_a_write_that_moves_nothing_disturbs_nobody() -> None:
    showing = Showing()
    before = showing.moves()

    with showing.showing(moves=False):
        assert showing.moves() == before
        assert not showing.moved_since(before)

    assert not showing.moved_since(before)


def test_a_move_that_failed_keeps_nobody_waiting() -> None:
    showing = Showing()

    with pytest.raises(OSError, match="full"), showing.showing(moves=True):
        raise OSError("full")

    assert not showing.moved_since(showing.moves())


def test_while_all_is_still_no_write_commits(thread: ThreadPoolExecutor) -> None:
    showing, committed = Showing(), threading.Event()

    def write() -> None:
        with showing.showing(moves=True):
            committed.set()

    with showing.still():
        writing = thread.submit(write)
        assert not committed.wait(0.05)
        assert not showing.moved_since(showing.moves()), "and looks go on"

    writing.result(WAIT_S)
    assert committed.is_set()


async def test_a_filtered_search_between_commit_and_showing_finds_what_is_updated(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = embeddings(COUNT)
    await collection.upsert(passages(COUNT), list(vectors))
    assert collection._engine is not None
    shown, committed, go_on = (
        collection._engine.upkeep.vectors,
        threading.Event(),
        threading.Event(),
    )
    publish = shown.publish

    def held(added: int, removed: Labels) -> None:
        committed.set()
        assert go_on.wait(WAIT_S)
        publish(added, removed)

    monkeypatch.setattr(shown, "publish", held)
    updating = asyncio.create_task(collection.upsert(passages(1, 7), [vectors[7]]))
    assert await asyncio.to_thread(committed.wait, WAIT_S)
    searching = asyncio.create_task(
        collection.search(vectors[7:8], 1, filter=Match("number", [7]), view=View.ID)
    )
    await asyncio.wait([searching], timeout=0.1)
    go_on.set()
    await updating

    [found] = await searching
    assert ids(found) == ["p00007"]


async def test_searches_beside_updates_lose_and_double_nothing(collection: Collection) -> None:
    vectors, chance = embeddings(COUNT), np.random.default_rng(0)
    await collection.upsert(passages(COUNT), list(vectors))
    filters = [None, Match("number", list(range(COUNT))), Match("number", [7])]
    numbers_found = [list(range(COUNT)), list(range(COUNT)), [7]]
    stop = asyncio.Event()
    answers = 0

    async def update() -> None:
        for _ in range(150):
            some = sorted({7, *chance.integers(0, COUNT, 5).tolist()})
            again = [passages(1, number)[0] for number in some]
            await collection.upsert(again, list(vectors[some]))
        stop.set()

    async def search() -> None:
        nonlocal answers
        while not stop.is_set():
            for condition, numbers in zip(filters, numbers_found, strict=True):
                [found] = await collection.search(
                    vectors[7:8], COUNT, filter=condition, view=View.ID
                )
                assert sorted(ids(found)) == [f"p{number:05}" for number in numbers]
                answers += 1

    await asyncio.gather(update(), *(search() for _ in range(SEARCHERS)))

    assert answers > SEARCHERS * len(filters)
