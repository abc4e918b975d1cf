"""Ask under filters that take ever fewer passages, beside exact search over the same matches."""

import time
from pathlib import Path

from benchmarks.open_loop import percentile
from benchmarks.retrieval import bare, messages
from benchmarks.retrieval.corpus import Corpus
from benchmarks.retrieval.results import Section, tell
from benchmarks.retrieval.served import Served, serving
from benchmarks.tables import Figure, table
from finesieve.v1.results_pb2 import RetrievalOptions

QUERIES = 40
MATCHES = (1, 0.5, 0.2, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
SLACK = 1.1  # of a ratio of times between two ways that are often one


def measure(corpus: Corpus, data_dir: Path) -> Section:
    """Return recall and time of each share, of which at least one passage matches."""
    queries = corpus.questions.vectors[:QUERIES]
    rows, figures = [], []
    with serving(data_dir) as served:
        for share in MATCHES:
            below = round(share * len(corpus))
            if below < 1:
                break
            tell(f"filters: {share:g}")
            found, took_s, truth, exact_s = _both(served, queries, below)
            recall = bare.recall(found, truth)
            ratios = percentile(took_s, 0.5) / percentile(exact_s, 0.5)
            rows.append(
                (
                    f"{share:g}",
                    str(below),
                    f"{recall:.4f}",
                    *(f"{1e3 * percentile(took_s, each):.2f} ms" for each in (0.5, 0.99)),
                    f"{1e3 * percentile(exact_s, 0.5):.2f} ms",
                    f"{ratios:.2f}",
                )
            )
            figures += [
                Figure(f"recall@{messages.TOP_K}, {share:g} of all match", 0.95, recall),
                Figure(f"time over exact search's, {share:g} match", SLACK, ratios, at_least=False),
            ]
    head = ("share", "matches", f"recall@{messages.TOP_K}", "p50", "p99", "exact p50", "ratio")
    return Section("Filters", figures, [table(head, rows)])


def _both(
    served: Served, queries: bare.Matrix, below: int
) -> tuple[list[list[int]], list[float], list[list[int]], list[float]]:
    """Ask each query both ways, in turns."""
    ways = [
        messages.queries(queries, RetrievalOptions(exact=exact), below) for exact in (False, True)
    ]
    found: tuple[list[list[int]], ...] = ([], [])
    took_s: tuple[list[float], ...] = ([], [])
    for requests in zip(*ways, strict=True):
        for way, request in enumerate(requests):
            began_s = time.perf_counter()
            answer = served.retrieve(request)
            took_s[way].append(time.perf_counter() - began_s)
            found[way].append(messages.found(answer))
    return found[0], took_s[0], found[1], took_s[1]
