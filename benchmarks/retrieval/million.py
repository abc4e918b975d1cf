"""Measure one large collection: its load, its memory, its start, and how evenly it answers."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.open_loop import percentile
from benchmarks.retrieval import bare, messages
from benchmarks.retrieval.corpus import CHUNK, Corpus
from benchmarks.retrieval.results import Section, spread, tell
from benchmarks.retrieval.served import Loaded, Served, serving
from benchmarks.tables import Figure, table
from finesieve.v1.results_pb2 import RetrievalOptions

NOTE = "loaded.json"  # beside the data directory: what was loaded into it, and how fast
QUERIES = 2_000
RECALL_QUERIES = 500
WARM_UP = QUERIES  # the pages of a store and a graph just opened come from the disk
AGAIN = CHUNK  # passages that are replaced before the server is killed
TOLD_EVERY = 20  # batches


def loaded(corpus: Corpus, folder: Path) -> tuple[Path, Section]:
    """Load all passages, unless an earlier run did; return the data directory and the load."""
    data_dir, note = folder / "data", folder / NOTE
    made_of = {"passages": len(corpus), "digest": corpus.digest}
    if note.exists() and (kept := json.loads(note.read_text()))["made_of"] == made_of:
        tell(f"{data_dir} is as an earlier run loaded it")
        load, empty_bytes, full_bytes = Loaded(**kept["load"]), kept["empty"], kept["full"]
    elif data_dir.exists():
        raise SystemExit(
            f"{data_dir} holds something else, or a load that was cut short; remove it"
        )
    else:
        with serving(data_dir) as served:
            served.create(corpus.vectors.shape[1])
            empty_bytes = served.anonymous_bytes()
            load = served.load(_told(messages.upserts(corpus, 0, len(corpus))), len(corpus))
            full_bytes = served.anonymous_bytes()
        kept = {"load": asdict(load), "empty": empty_bytes, "full": full_bytes}
        note.write_text(json.dumps({"made_of": made_of, **kept}))
    rows = [
        ("durable", f"{load.passages / load.durable_s:.0f} passages/s, {load.durable_s:.0f} s"),
        ("in the graph, saved", f"{load.passages / load.idle_s:.0f} passages/s"),
        ("anonymous memory, empty", f"{empty_bytes / 1e6:.0f} MB"),
        ("anonymous memory, after the load", f"{full_bytes / 1e6:.0f} MB"),
        *_sizes(data_dir, load.passages),
    ]
    figure = Figure(
        "kB of anonymous memory a passage, after the load",
        2.2,
        (full_bytes - empty_bytes) / load.passages / 1e3,
        at_least=False,
    )
    return data_dir, Section("The load", [figure], [table(("", ""), rows)])


def starts(corpus: Corpus, data_dir: Path) -> Section:
    """Start after a clean stop and after a kill amid upserts; then look whether all is there."""
    [request] = messages.queries(corpus.real[:1], RetrievalOptions())
    with serving(data_dir) as served:
        clean = _started(served, request)
        clean_bytes = served.anonymous_bytes()
        tell("killing the server amid upserts")
        again = messages.upserts(corpus, 0, min(AGAIN, len(corpus)))
        replaced = served.load_and_kill(again)
    with serving(data_dir) as served:
        killed = _started(served, request)
        count = served.count()
        if count != len(corpus):
            raise SystemExit(f"{count} passages are left of {len(corpus)}")
    head = ("start", "serving", "the first Retrieve answered", "nothing left to do")
    rows = [
        ("after a clean stop", *(f"{each:.1f} s" for each in clean)),
        (f"after kill -9, {replaced} passages replaced", *(f"{each:.1f} s" for each in killed)),
    ]
    figures = [
        Figure(f"s from start to the first answer, after {how}", 20, seconds[1], at_least=False)
        for how, seconds in (("a clean stop", clean), ("kill -9", killed))
    ]
    memory = f"Anonymous memory after a start: {clean_bytes / 1e6:.0f} MB."
    return Section("Start", figures, [table(head, rows), memory])


def _started(served: Served, request: bytes) -> tuple[float, float, float]:
    """Return when the server served, answered and had caught up, in seconds from its start."""
    served.retrieve(request)
    answered_s = time.perf_counter() - served.started_s
    return served.serving_s, answered_s, served.wait_until_idle() - served.started_s


def answers(corpus: Corpus, data_dir: Path) -> Section:
    """Ask one query after the other, and the same graph in process; compare what both find."""
    queries = corpus.questions.vectors[:QUERIES]
    requests = messages.queries(queries, RetrievalOptions())
    some = queries[:RECALL_QUERIES]
    truth = bare.truth(corpus.vectors, some)
    with serving(data_dir) as served:
        tell("asking the server")
        _seconds(served, requests[:WARM_UP])
        took_s = _seconds(served, requests)
        found = [messages.found(served.retrieve(each)) for each in requests[:RECALL_QUERIES]]
        server_s = [messages.server_s(served.retrieve(each)) for each in requests]
    [path] = data_dir.glob("collections/*/graph-*.hnsw")
    tell("hnswlib loads the server's graph")
    index = bare.load(path, queries.shape[1])
    bare.single_s(index, queries[:WARM_UP], bare.OPTIONS.ef_search)
    bare_s = bare.single_s(index, queries, bare.OPTIONS.ef_search)
    p50, p99 = (percentile(took_s, share) for share in (0.5, 0.99))
    shares = (0.5, 0.95, 0.99, 1.0)
    rows = [
        ("the server, at the client", *spread(took_s, *shares)),
        ("the server, of its own time", *spread(server_s, *shares)),
        ("hnswlib in process, the same graph", *spread(bare_s, *shares)),
    ]
    recall = bare.recall(found, truth)
    note = f"Recall@{messages.TOP_K} at the default ef: {recall:.4f} of {len(some)} real questions."
    figure = Figure("p99 of Retrieve over its p50", 3, p99 / p50, at_least=False)
    return Section(
        "One query at a time", [figure], [table(("", "p50", "p95", "p99", "most"), rows), note]
    )


def _seconds(served: Served, requests: Sequence[bytes]) -> list[float]:
    took_s = []
    for request in requests:
        began_s = time.perf_counter()
        served.retrieve(request)
        took_s.append(time.perf_counter() - began_s)
    return took_s


def _told(batches: Iterator[bytes]) -> Iterator[bytes]:
    for sent, batch in enumerate(batches):
        if sent % TOLD_EVERY == 0:
            tell(f"{sent * messages.BATCH} passages sent")
        yield batch


def _sizes(data_dir: Path, passages: int) -> Iterator[tuple[str, str]]:
    """Give the bytes a passage of each kind of file, as they lie on disk."""
    kinds = {"store.db": "store", "vectors-*": "vectors", "graph-*": "graph", "slots-*": "slots"}
    total = 0
    for pattern, kind in kinds.items():
        paths = list(data_dir.glob(f"collections/*/{pattern}"))
        size = sum(path.stat().st_blocks * 512 for path in paths)
        total += size
        yield f"on disk, {kind}", f"{size / passages:.0f} bytes a passage"
    yield "on disk, all", f"{total / passages:.0f} bytes a passage"
