"""Each way in which hnswlib harms those who trust it, and that the graph lets none through."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from finesieve_server.errors import StorageFull
from finesieve_server.index.graph import FIRST_CAPACITY, Graph
from finesieve_server.index.native import library
from finesieve_server.index.records import Distance, HnswOptions
from tests.server.index.corpus import DIMENSION, embeddings
from tests.server.index.disk import Disk

OPTIONS = HnswOptions()


def unit(count: int, seed: int = 0) -> np.ndarray:
    values = embeddings(count, seed)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def built(count: int, distance: Distance = Distance.COSINE) -> tuple[Graph, np.ndarray]:
    graph, values = Graph.empty(DIMENSION, distance, OPTIONS), unit(count)
    graph.add(np.arange(count), values, threads=2)
    return graph, values


def recall(graph: Graph, values: np.ndarray, considered: int = 64) -> float:
    queries = unit(100, seed=8)
    found = graph.nearest(queries, considered)[:, :10]
    truth = np.argsort(-(queries @ values.T), axis=1)[:, :10]
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True))
    return hits / 1000


def test_a_query_of_the_wrong_dimension_never_reaches_hnswlib() -> None:
    graph, _ = built(100)

    for shape in ((1, DIMENSION - 1), (1, DIMENSION + 1), (DIMENSION,)):
        with pytest.raises(AssertionError):
            graph.nearest(np.ones(shape, np.float32), 1)
    with pytest.raises(AssertionError):
        graph.add(np.arange(100, 101), np.ones((1, DIMENSION + 1), np.float32), threads=1)


def test_fewer_nodes_than_asked_for_is_a_short_answer_where_hnswlib_raises() -> None:
    graph, _ = built(20)
    bare = hnswlib.Index("ip", DIMENSION)
    bare.init_index(20)
    bare.add_items(unit(20))

    with pytest.raises(RuntimeError):
        bare.knn_query(unit(1), k=21)
    assert graph.nearest(unit(1), 21).shape == (1, 20)
    graph.mark_deleted(np.arange(15))
    assert sorted(graph.nearest(unit(1), 21)[0].tolist()) == list(range(15, 20))
    graph.mark_deleted(np.arange(15, 20))
    assert graph.nearest(unit(3), 21).shape == (3, 0)
    assert Graph.empty(DIMENSION, Distance.L2, OPTIONS).nearest(unit(2), 5).size == 0


def test_nodes_that_hnswlib_does_not_reach_are_told_as_lacking() -> None:
    graph, values = Graph.empty(DIMENSION, Distance.COSINE, OPTIONS), unit(2000)
    # A node links to living ones alone: some that come when all others have died are cut off.
    for first in range(0, 2000, 40):
        graph.add(np.arange(first, first + 40), values[first : first + 40], threads=1)
        [found] = graph.nearest(unit(1), 40)
        if found[-1] < 0:
            break
        graph.mark_deleted(np.arange(first, first + 40))
    else:
        raise AssertionError("hnswlib reached every node; is the guard still needed?")

    reached = found[found >= 0]
    assert found[: len(reached)].tolist() == reached.tolist(), "what is lacking stands at the end"
    assert set(reached.tolist()) < set(range(first, first + 40))


def test_considered_candidates_are_each_search_s_own() -> None:
    graph, values = built(3000)

    thorough, hasty = recall(graph, values, 200), recall(graph, values, 10)
    errors: list[float] = []

    def search_hastily() -> None:
        for _ in range(8):
            recall(graph, values, 10)

    def search_thoroughly() -> None:
        errors.extend(thorough - recall(graph, values, 200) for _ in range(8))

    threads = [threading.Thread(target=work) for work in (search_hastily, search_thoroughly)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert hasty < thorough
    assert set(errors) == {0.0}


def test_capacity_grows_by_itself_and_keeps_its_recall() -> None:
    graph, values = built(FIRST_CAPACITY * 2 + 7)

    assert graph.nodes == FIRST_CAPACITY * 2 + 7
    assert recall(graph, values) >= 0.97


def test_searches_while_it_grows_and_dies_see_only_whole_nodes() -> None:
    graph, _ = built(500)
    queries = unit(40, seed=5)
    stop = threading.Event()
    failures: list[object] = []

    def search() -> None:
        while not stop.is_set():
            try:
                found = graph.nearest(queries, 20)
                if found.shape != (40, 20) or found.max() >= 6000:
                    failures.append(found)
            except Exception as error:  # noqa: BLE001 -- told by the main thread
                failures.append(error)

    searchers = [threading.Thread(target=search) for _ in range(3)]
    for thread in searchers:
        thread.start()
    grown = unit(6000)
    for start in range(500, 6000, 250):
        graph.add(np.arange(start, start + 250), grown[start : start + 250], threads=2)
        graph.mark_deleted(np.arange(start - 500, start - 300))
    stop.set()
    for thread in searchers:
        thread.join()

    assert failures == []


def test_a_saved_graph_comes_back_the_same(tmp_path: Path) -> None:
    graph, _ = built(2000)
    graph.mark_deleted(np.arange(0, 2000, 2))

    graph.save(tmp_path / "graph")
    loaded = Graph.load(tmp_path / "graph", DIMENSION, Distance.COSINE, nodes=2000, deleted=1000)
    queries = unit(50, seed=3)

    before = graph.nearest(queries, 30)
    np.testing.assert_array_equal(loaded.nearest(queries, 30), before)
    assert loaded.live == graph.live == 1000
    more = unit(3000)[2000:]
    loaded.add(np.arange(2000, 3000), more, threads=2)
    assert loaded.nodes == 3000


def test_a_save_that_the_disk_cuts_short_is_noticed_where_hnswlib_is_silent(disk: Disk) -> None:
    graph, _ = built(4000)  # 1 MB
    disk.fill(leave=200_000)

    assert library.graph_save(graph._handle, bytes(disk.path / "bare")), "hnswlib sees no failure"
    assert (disk.path / "bare").stat().st_size < library.graph_file_bytes(graph._handle)
    (disk.path / "bare").unlink()
    with pytest.raises(StorageFull):
        graph.save(disk.path / "graph")


def test_during_a_save_searches_go_on_and_changes_wait_where_hnswlib_stops_every_thread(
    tmp_path: Path,
) -> None:
    graph, values = built(4000)  # 1 MB, of which a pipe takes 64 KB
    before = graph.nearest(values[:5], 10)
    pipe, changed = tmp_path / "pipe", threading.Event()
    os.mkfifo(pipe)

    def save() -> None:
        with pytest.raises(StorageFull):  # a pipe keeps nothing
            graph.save(pipe)

    def change() -> None:
        graph.add(np.arange(4000, 4001), unit(1, seed=9), threads=1)
        changed.set()

    threads = [threading.Thread(target=work) for work in (save, change)]
    threads[0].start()
    with pipe.open("rb") as reader:
        assert reader.read(1)  # it is in the midst of saving
        np.testing.assert_array_equal(graph.nearest(values[:5], 10), before)
        threads[1].start()
        assert not changed.wait(0.05)
        while reader.read(1 << 16):
            pass
    pipe.open("wb").close()  # save opens what it wrote, to look at its size
    for thread in threads:
        thread.join(10)

    assert changed.is_set()
    assert not threads[0].is_alive()


def test_a_saved_graph_of_another_dimension_is_refused_where_hnswlib_reads_beyond_it(
    tmp_path: Path,
) -> None:
    graph, _ = built(100)
    graph.save(tmp_path / "graph")

    for dimension in (DIMENSION // 2, DIMENSION * 2):
        with pytest.raises(RuntimeError, match="dimension"):
            Graph.load(tmp_path / "graph", dimension, Distance.COSINE, nodes=100, deleted=0)


def test_few_vectors_that_are_no_numbers_would_spoil_the_graph_for_all_others() -> None:
    values = unit(2000)
    values[::100] = np.nan
    spoilt = Graph.empty(DIMENSION, Distance.COSINE, OPTIONS)
    spoilt.add(np.arange(2000), values, threads=1)
    whole, _ = built(2000)

    numbers = np.nan_to_num(values, nan=-1.0)

    assert recall(spoilt, numbers) < 0.9, "why distances.py lets none through"
    assert recall(whole, unit(2000)) > 0.97


_WITHOUT_ROOM_FOR_THREADS = """
import resource, numpy as np
from finesieve_server.index.graph import Graph
from finesieve_server.index.records import Distance, HnswOptions
graph = Graph.empty(8, Distance.L2, HnswOptions())
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 60 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (size, size))
graph.add(np.arange(256), np.eye(256, 8, dtype=np.float32), threads=64)
print(graph.live)
"""


def test_threads_that_cannot_start_are_done_without() -> None:
    command = [sys.executable, "-c", _WITHOUT_ROOM_FOR_THREADS]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (0, "256\n"), ended.stderr
