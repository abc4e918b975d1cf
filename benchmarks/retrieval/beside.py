"""Compare the server with hnswlib and faiss in process, over the same real embeddings.

Build rate, recall against throughput, and one query alone. hnswlib and the server take turns, so
that both find the machine as the other left it; each gets every core.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.open_loop import percentile
from benchmarks.peers.peer import Unavailable
from benchmarks.retrieval import bare, faiss, messages
from benchmarks.retrieval.corpus import REAL, Corpus
from benchmarks.retrieval.results import Curve, Section, spread, tell
from benchmarks.retrieval.served import Loaded, Served, serving
from benchmarks.tables import Figure, table
from finesieve.v1.results_pb2 import RetrievalOptions

QUERIES = 1_000
SINGLE_QUERIES = 500
WARM_UP = 50
ROUNDS = 9
DEFAULT_EF = bare.OPTIONS.ef_search
EF_SEARCH = sorted({16, 32, 64, 128, 256, 512, DEFAULT_EF})


@dataclass(frozen=True, slots=True)
class Singles:
    """What one query took each way, in turns."""

    bare_s: Sequence[float]
    server_s: Sequence[float]  # as the answer says
    client_s: Sequence[float]


def measure(corpus: Corpus, folder: Path) -> tuple[Section, dict[str, Curve]]:
    """Build and ask all three; return what was seen, and the lines of the picture."""
    count = min(REAL, len(corpus))
    vectors = corpus.vectors[:count]
    queries = corpus.questions.vectors[:QUERIES]
    truth = bare.truth(vectors, queries)
    upserts = list(messages.upserts(corpus, 0, count))
    tell("hnswlib builds")
    built = [bare.build(vectors)]
    with serving(folder / "hundred") as served:
        served.create(vectors.shape[1])
        tell("the server loads")
        loaded = served.load(upserts, count)
        tell("hnswlib builds again")
        built.append(bare.build(vectors))
        index = built[0].index
        tell("both are asked")
        curves, ratios = _curves(served, index, queries, truth)
        singles = _singles(served, index, queries[:SINGLE_QUERIES])
    tell("faiss builds and is asked")
    try:
        theirs = faiss.measure(vectors, queries, truth, EF_SEARCH)
        curves["faiss"] = theirs.curve
        faiss_row = ("faiss", f"{count / theirs.build_s:.0f}", "", "")
    except Unavailable as reason:
        faiss_row = ("faiss", str(reason), "", "")
    bare_s = statistics.mean(each.seconds for each in built)
    bare_cpu_s = statistics.mean(each.cpu_s for each in built)
    figures = [
        Figure(
            f"recall@{messages.TOP_K} at the default ef, {count} real embeddings",
            0.99,
            curves["finesieve"].recall_at(DEFAULT_EF),
        ),
        Figure.of_rounds("BatchRetrieve of embeddings, ids alone, of hnswlib's rate", 0.8, ratios),
        Figure(
            "ms that a single Retrieve adds to hnswlib's own, p50",
            0.6,
            1e3 * (percentile(singles.server_s, 0.5) - percentile(singles.bare_s, 0.5)),
            at_least=False,
        ),
        Figure(
            "upserts/s in batches of 1,000 with 90-word texts until all is durable, of hnswlib's",
            0.7,
            bare_s / loaded.durable_s,
        ),
        Figure("the same until all is in the graph as well", 0.7, bare_s / loaded.idle_s),
    ]
    blocks = [
        table(
            ("build", "passages/s", "until", "processor time a passage"),
            [
                (
                    "hnswlib in process",
                    f"{count / bare_s:.0f}",
                    "all is in the graph",
                    f"{bare_cpu_s / count * 1e6:.0f} µs",
                ),
                *_loaded_rows(loaded),
                faiss_row,
            ],
        ),
        _curve_table(curves),
        table(
            ("one query", "p50", "p99"),
            [
                ("hnswlib in process", *spread(singles.bare_s)),
                ("the server, of its own time", *spread(singles.server_s)),
                ("the server, at the client", *spread(singles.client_s)),
            ],
        ),
    ]
    return Section(f"Beside hnswlib and faiss, {count} passages", figures, blocks), curves


def _curves(
    served: Served, index: object, queries: bare.Matrix, truth: Sequence[Sequence[int]]
) -> tuple[dict[str, Curve], list[float]]:
    """Return a line each, and the ratios of the rates in each round at the default ef."""
    curves = {"finesieve": Curve(), "hnswlib": Curve()}
    ratios: list[float] = []
    for ef_search in EF_SEARCH:
        requests = messages.batches(queries, ef_search)
        ours_s, theirs_s = [], []
        answers: list[bytes] = []
        found: list[list[int]] = []
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            answers = list(map(served.batch_retrieve, requests))
            ours_s.append(time.perf_counter() - began_s)
            found, took_s = bare.batch(index, queries, ef_search)
            theirs_s.append(took_s)
        ours = bare.recall(messages.all_found(answers), truth)
        curves["finesieve"].add(ef_search, ours, len(queries) / statistics.median(ours_s))
        theirs = bare.recall(found, truth)
        curves["hnswlib"].add(ef_search, theirs, len(queries) / statistics.median(theirs_s))
        if ef_search == DEFAULT_EF:
            ratios = [theirs / ours for ours, theirs in zip(ours_s, theirs_s, strict=True)]
    return curves, ratios


def _singles(served: Served, index: object, queries: bare.Matrix) -> Singles:
    requests = messages.queries(queries, RetrievalOptions())
    answers, client_s, bare_s = [], [], []
    for request in requests[:WARM_UP]:
        served.retrieve(request)
    for request, query in zip(requests, queries, strict=True):
        began_s = time.perf_counter()
        answers.append(served.retrieve(request))
        client_s.append(time.perf_counter() - began_s)
        bare_s += bare.single_s(index, query[None], DEFAULT_EF)
    return Singles(bare_s, [messages.server_s(answer) for answer in answers], client_s)


def _loaded_rows(loaded: Loaded) -> list[tuple[str, str, str, str]]:
    cpu = f"{loaded.cpu_s / loaded.passages * 1e6:.0f} µs"
    return [
        ("the server", f"{loaded.passages / loaded.durable_s:.0f}", "all is durable", ""),
        ("the server", f"{loaded.passages / loaded.idle_s:.0f}", "all is in the graph, saved", cpu),
    ]


def _curve_table(curves: dict[str, Curve]) -> str:
    rows = [
        (name, str(point.ef_search), f"{point.recall:.4f}", f"{point.queries_per_s:.0f}")
        for name, curve in curves.items()
        for point in curve.points
    ]
    return table(("engine", "ef", f"recall@{messages.TOP_K}", "queries/s"), rows)
