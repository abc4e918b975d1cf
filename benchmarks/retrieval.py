"""Compare the index with bare hnswlib over the same vectors: recall, latency, throughput, start.

    python -m benchmarks.retrieval [--vectors 20000] [--dimension 384] [--seed 0]

The vectors are a seeded mixture of clusters: noise alone makes any graph look broken. Both sides
search with ef 64, one thread a query, and build with every core. The index is called in process,
without gRPC; its passages have texts of 90 words and three metadata fields.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import hnswlib
import numpy as np
import structlog
from numpy.typing import NDArray

from benchmarks.machine import describe
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.exact import scores_of
from finesieve_server.index.filters import Filter, Match, Range
from finesieve_server.index.records import (
    CollectionSpec,
    Distance,
    Found,
    HnswOptions,
    JsonValue,
    Passage,
    View,
)

Matrix = NDArray[np.float32]

TOP_K = 10
QUERIES = 1_000
SINGLE_QUERIES = 300
BATCH = 1_000
TEXT = " ".join(["ninetywords"] * 90)


def main() -> None:
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    random = np.random.default_rng(arguments.seed)
    centres = random.standard_normal((max(1, arguments.vectors // 100), arguments.dimension))
    corpus = _draw(random, centres, arguments.vectors)
    queries = _draw(random, centres, QUERIES)
    for what, which in describe():
        print(f"{what}: {which}")
    print(f"{arguments.vectors} vectors of {arguments.dimension}")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(Path(folder), corpus, queries))


async def _compare(data_dir: Path, corpus: Matrix, queries: Matrix) -> None:
    bare, build_s = _build_bare(corpus)
    catalog = await Catalog.open(data_dir, threads=len(os.sched_getaffinity(0)))
    collection = await catalog.create(
        CollectionSpec("bench", "", "", corpus.shape[1], Distance.COSINE, HnswOptions(), True)
    )
    await _load(collection, corpus, build_s)
    await _measure_recall(collection, bare, corpus, queries)
    await _measure_single(collection, bare, queries)
    await _measure_batch(collection, bare, queries)
    await _measure_filters(collection, queries, len(corpus))
    _measure_products(corpus, queries)
    await catalog.close()
    await _measure_start(data_dir)


def _build_bare(corpus: Matrix) -> tuple[hnswlib.Index, float]:
    bare = hnswlib.Index("ip", corpus.shape[1])
    bare.init_index(len(corpus), M=16, ef_construction=200)
    began_s = time.perf_counter()
    bare.add_items(corpus, np.arange(len(corpus)))
    bare.set_ef(64)
    return bare, time.perf_counter() - began_s


async def _load(collection: Collection, corpus: Matrix, build_s: float) -> None:
    took_s = []
    began_s = time.perf_counter()
    for start in range(0, len(corpus), BATCH):
        rows = corpus[start : start + BATCH]
        passages = [_passage(number) for number in range(start, start + len(rows))]
        batch_began_s = time.perf_counter()
        await collection.upsert(passages, list(rows))
        took_s.append(time.perf_counter() - batch_began_s)
    durable_s = time.perf_counter() - began_s
    await collection.settled()
    built_s = time.perf_counter() - began_s
    print(
        f"upsert: durable {len(corpus) / durable_s:.0f}/s,"
        f" in the graph {len(corpus) / built_s:.0f}/s"
        f" ({build_s / built_s:.2f} of bare building at {len(corpus) / build_s:.0f}/s);"
        f" a batch {statistics.median(took_s) * 1e3:.0f} ms, at most {max(took_s) * 1e3:.0f} ms"
    )


async def _measure_recall(
    collection: Collection, bare: hnswlib.Index, corpus: Matrix, queries: Matrix
) -> None:
    truth = np.argsort(-(queries @ corpus.T), axis=1)[:, :TOP_K].tolist()
    theirs, _ = bare.knn_query(queries, k=TOP_K)
    ours = _numbers(await collection.search(queries, TOP_K, view=View.ID))
    exact = _numbers(await collection.search(queries, TOP_K, view=View.ID, exact=True))
    print(
        f"recall@{TOP_K}: {_recall(ours, truth):.4f}, bare {_recall(theirs.tolist(), truth):.4f},"
        f" exact search {_recall(exact, truth):.4f}"
    )


async def _measure_single(collection: Collection, bare: hnswlib.Index, queries: Matrix) -> None:
    async def ask_bare(query: Matrix) -> None:
        bare.knn_query(query, k=TOP_K, num_threads=1)

    async def ask_for_ids(query: Matrix) -> None:
        await collection.search(query, TOP_K, view=View.ID)

    async def ask_for_passages(query: Matrix) -> None:
        await collection.search(query, TOP_K)

    print(f"one query: bare {await _latency(ask_bare, queries)}")
    print(f"           ids {await _latency(ask_for_ids, queries)}")
    print(f"           passages {await _latency(ask_for_passages, queries)}")


async def _measure_batch(collection: Collection, bare: hnswlib.Index, queries: Matrix) -> None:
    theirs_s, ours_s = [], []
    for _ in range(7):
        began_s = time.perf_counter()
        bare.knn_query(queries, k=TOP_K)
        theirs_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        await collection.search(queries, TOP_K, view=View.ID)
        ours_s.append(time.perf_counter() - began_s)
    theirs, ours = (len(queries) / statistics.median(took) for took in (theirs_s, ours_s))
    print(
        f"{len(queries)} queries at once: {ours:.0f}/s, {ours / theirs:.2f} of bare {theirs:.0f}/s"
    )


async def _measure_filters(collection: Collection, queries: Matrix, count: int) -> None:
    shares: dict[str, Filter] = {
        "all": Match("language", ["en"]),
        "50%": Range("percent", lt=50),
        "20%": Range("percent", lt=20),
        "10%": Range("percent", lt=10),
        "1%": Match("percent", [7]),
        "0.1%": Range("number", lt=count // 1000),
        "one": Match("number", [7]),
    }
    for share, condition in shares.items():

        async def ask(query: Matrix, condition: Filter = condition, exact: bool = False) -> None:
            await collection.search(query, TOP_K, view=View.ID, filter=condition, exact=exact)

        async def ask_exactly(query: Matrix, condition: Filter = condition) -> None:
            await ask(query, condition, exact=True)

        found = await collection.search(queries, TOP_K, view=View.ID, filter=condition)
        truth = await collection.search(queries, TOP_K, view=View.ID, filter=condition, exact=True)
        print(
            f"filter, {share} match: recall {_recall(_numbers(found), _numbers(truth)):.4f},"
            f" {await _latency(ask, queries)}; exact {await _latency(ask_exactly, queries)}"
        )


def _measure_products(corpus: Matrix, queries: Matrix) -> None:
    rows = corpus[:2_000]
    ways: dict[str, Callable[[Matrix], object]] = {
        "ours": lambda query: scores_of(Distance.COSINE, query, rows),
        "BLAS": lambda query: rows @ query,
    }
    for name, way in ways.items():
        took_s = []
        for query in queries:
            began_s = time.perf_counter()
            way(query)
            took_s.append(time.perf_counter() - began_s)
        print(f"one query with 2,000 vectors, {name}: {_spread(took_s)}")


async def _measure_start(data_dir: Path) -> None:
    for kind in ("with a snapshot", "without"):
        if kind == "without":
            _remove_manifests(data_dir)
        began_s = time.perf_counter()
        catalog = await Catalog.open(data_dir, threads=len(os.sched_getaffinity(0)))
        opened_s = time.perf_counter() - began_s
        await (await catalog.get("bench")).settled()
        print(
            f"start {kind}: serving after {opened_s * 1e3:.0f} ms,"
            f" graph complete after {(time.perf_counter() - began_s) * 1e3:.0f} ms"
        )
        await catalog.close()


def _remove_manifests(data_dir: Path) -> None:
    for manifest in list(data_dir.glob("collections/*/index.json")):
        manifest.unlink()


async def _latency(ask: Callable[[Matrix], Awaitable[None]], queries: Matrix) -> str:
    took_s = []
    for row in range(SINGLE_QUERIES):
        began_s = time.perf_counter()
        await ask(queries[row : row + 1])
        took_s.append(time.perf_counter() - began_s)
    return _spread(took_s)


def _spread(took_s: list[float]) -> str:
    ordered = sorted(took_s)
    middle, late = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"p50 {middle * 1e6:.0f} µs, p99 {late * 1e6:.0f} µs"


def _recall(found: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]) -> float:
    hits = sum(len(set(a) & set(b)) for a, b in zip(found, truth, strict=True))
    return hits / max(1, sum(map(len, truth)))


def _numbers(found: Sequence[Sequence[Found]]) -> list[list[int]]:
    return [[int(each.passage.id) for each in row] for row in found]


def _passage(number: int) -> Passage:
    metadata: dict[str, JsonValue] = {
        "number": number,
        "percent": number * 7919 % 100,
        "language": "en",
    }
    return Passage(str(number), text=TEXT, metadata=metadata, document_id=str(number // 10))


def _draw(random: np.random.Generator, centres: NDArray[np.float64], count: int) -> Matrix:
    noise = random.standard_normal((count, centres.shape[1]))
    values = centres[random.integers(0, len(centres), count)] + 0.8 * noise
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
