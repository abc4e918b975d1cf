"""Ask real questions of BM25 alone, one after the other."""

import time
from pathlib import Path

from benchmarks.open_loop import percentile
from benchmarks.retrieval import messages
from benchmarks.retrieval.corpus import Corpus
from benchmarks.retrieval.results import Section, spread, tell
from benchmarks.retrieval.served import serving
from benchmarks.tables import Figure, table
from finesieve.v1.results_pb2 import RETRIEVAL_MODE_LEXICAL

QUERIES = 1_000
WARM_UP = 50  # others than are measured


def measure(corpus: Corpus, data_dir: Path) -> Section:
    """Return what a question takes, of those that the evaluation sets ask."""
    texts = corpus.questions.texts[: QUERIES + WARM_UP]
    requests = messages.questions(texts, RETRIEVAL_MODE_LEXICAL)
    took_s, hits = [], 0
    with serving(data_dir) as served:
        tell("lexical questions")
        for at, request in enumerate(requests):
            began_s = time.perf_counter()
            answer = served.retrieve(request)
            if at >= WARM_UP:
                took_s.append(time.perf_counter() - began_s)
                hits += len(messages.found(answer))
    shares = (0.5, 0.95, 0.99, 1.0)
    figures = [
        Figure("ms of a lexical Retrieve, p50", 60, 1e3 * percentile(took_s, 0.5), False),
        Figure("ms of a lexical Retrieve, p95", 200, 1e3 * percentile(took_s, 0.95), False),
    ]
    rows = [(str(len(took_s)), f"{hits / len(took_s):.1f}", *spread(took_s, *shares))]
    head = ("questions", "hits each", "p50", "p95", "p99", "most")
    return Section("Lexical", figures, [table(head, rows)])
