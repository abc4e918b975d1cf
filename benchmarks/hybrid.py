"""Measure what is found by embeddings, by words, and by both: each alone, and reranked.

    python -m benchmarks.hybrid DATA

DATA holds one folder a set in BEIR's layout. What serves the bundled models, or those of --models,
runs here in process, with exact search; all modes share queries and logits, and what was computed
is kept in --cache, so that a run that was interrupted goes on.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import apsw
import ir_measures
import numpy as np
from ir_measures import nDCG

from benchmarks.machine import describe, write_report
from benchmarks.quality import Dataset, Stages, blended, cached, load, nearest, read_dataset
from benchmarks.workload import frame_pairs, read_rows
from finesieve_server.index.lexical import LexicalIndex
from finesieve_server.index.records import Found, Passage
from finesieve_server.index.segments import SCHEMA
from finesieve_server.search.fusion import fuse

DENSE, LEXICAL, HYBRID = MODES = ("dense", "lexical", "hybrid")
BUNDLED = "models/all-minilm-l6-v2,models/minilm-l6-cross-encoder"
INDEXED_AT_ONCE = 1_000
RESAMPLINGS = 10_000

Run = dict[str, dict[str, float]]  # query id -> passage id -> score, best first
Quality = dict[str, dict[str, float]]  # mode -> query id -> nDCG@10


def main() -> None:
    arguments = _arguments()
    stages = load(f"served={arguments.models}", arguments.threads)
    alone, reranked = [], []
    for folder in sorted(each.parent for each in arguments.data.glob("*/qrels.tsv")):
        data = read_dataset(folder)
        depths = sorted({10, arguments.candidates})
        runs = {depth: _runs(folder, data, stages, depth, arguments.cache) for depth in depths}
        alone.append((data.name, _quality(data, runs[10], sorted(data.queries))))
        sample = random.Random(0).sample(
            sorted(data.queries), min(arguments.queries, len(data.queries))
        )
        second = _reranked(data, runs[arguments.candidates], sample, stages, arguments.cache)
        reranked.append((data.name, _quality(data, second, sample)))
        print(_tables(alone, reranked), flush=True)
    if arguments.write:
        write_report("hybrid", _report(alone, reranked, arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", default=BUNDLED, help="bi-encoder's folder,cross-encoder's")
    parser.add_argument("--queries", type=int, default=100, help="sampled for the second stage")
    parser.add_argument("--candidates", type=int, default=50, help="for the second stage")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path(".quality-cache"))
    parser.add_argument("--write", action="store_true", help="keep the report in docs/")
    return parser.parse_args()


def _runs(folder: Path, data: Dataset, stages: Stages, depth: int, cache: Path) -> dict[str, Run]:
    """Return what each mode finds for every query, best first."""
    dense = {
        query: dict(list(scores.items())[:depth])
        for query, scores in nearest(data, stages, cache).items()
    }
    lexical = _lexical(folder, data, depth)
    hybrid = {query: _fused([dense[query], lexical[query]], depth) for query in data.queries}
    return {DENSE: dense, LEXICAL: lexical, HYBRID: hybrid}


def _lexical(folder: Path, data: Dataset, depth: int) -> Run:
    database = apsw.Connection(":memory:")
    database.execute(SCHEMA)
    index = LexicalIndex(database)
    texts = [(row.get("title") or "", row["text"]) for row in read_rows(folder, "corpus")]
    for start in range(0, len(texts), INDEXED_AT_ONCE):
        chunk = texts[start : start + INDEXED_AT_ONCE]
        index.add(np.arange(start, start + len(chunk)), chunk)
        index.tidy()
    names = list(data.passages)
    run: Run = {}
    for query, text in data.queries.items():
        labels, scores = index.find(text, depth, _NO_FILTER, None)
        run[query] = dict(zip((names[at] for at in labels), scores.tolist(), strict=True))
    return run


class _NoFilter:
    """Stands where a store says what a filter takes; nothing is filtered here."""

    def at_most(self, condition: object, limit: int) -> int:
        raise NotImplementedError

    def accepted(self, condition: object, labels: object) -> np.ndarray:
        raise NotImplementedError

    def labels_matching(self, condition: object) -> np.ndarray:
        raise NotImplementedError

    def require_wanted(self) -> None:
        """Somebody waits for every run."""


_NO_FILTER = _NoFilter()


def _fused(rankings: Sequence[dict[str, float]], depth: int) -> dict[str, float]:
    found = [[Found(Passage(id_), score) for id_, score in each.items()] for each in rankings]
    return {each.passage.id: each.score for each in fuse(found, depth)}


def _reranked(
    data: Dataset, runs: dict[str, Run], sample: Sequence[str], stages: Stages, cache: Path
) -> dict[str, Run]:
    """Return each mode's candidates in the order of both stages; a pair is scored once."""
    wanted = {
        query: sorted({id_ for run in runs.values() for id_ in run[query]}) for query in sample
    }
    model = stages.cross_encoder
    framed = [
        pair
        for query, ids in wanted.items()
        for pair in frame_pairs(model, data.queries[query], [data.passages[id_] for id_ in ids])
    ]
    logits: Iterator[float] = iter(
        cached(cache, f"{data.name}-hybrid-logits", model.run, framed).tolist()
    )
    known = {query: {id_: next(logits) for id_ in ids} for query, ids in wanted.items()}
    return {
        mode: {
            query: blended({id_: known[query][id_] for id_ in run[query]}, run[query], model)
            for query in sample
        }
        for mode, run in runs.items()
    }


def _quality(data: Dataset, runs: dict[str, Run], queries: Sequence[str]) -> Quality:
    judged = {query: data.qrels[query] for query in queries}
    quality: Quality = {}
    for mode, run in runs.items():
        # Fused scores tie often; what counts is the order that callers get.
        chosen = {
            query: {id_: -rank for rank, id_ in enumerate(_ordered(run[query]))}
            for query in queries
        }
        measured = ir_measures.iter_calc([nDCG @ 10], judged, chosen)
        quality[mode] = dict.fromkeys(queries, 0.0) | {
            each.query_id: float(each.value) for each in measured
        }
    return quality


def _ordered(scores: dict[str, float]) -> list[str]:
    return sorted(scores, key=lambda id_: -scores[id_])  # stable: ties stay as they come


def _tables(alone: Sequence[tuple[str, Quality]], reranked: Sequence[tuple[str, Quality]]) -> str:
    columns = ["set", *MODES, *(f"{mode}, reranked" for mode in MODES)]
    columns.append("reranked: hybrid less the better of the others")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for (name, first), (_, second) in zip(alone, reranked, strict=True):
        cells = [f"{_mean(quality[mode]):.3f}" for quality in (first, second) for mode in MODES]
        lines.append(f"| {name} | {' | '.join(cells)} | {_difference(second)} |")
    return "\n".join(lines)


def _mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)


def _difference(quality: Quality) -> str:
    """Return how far hybrid is above the better of the others, with its 95% interval.

    Paired bootstrap over the queries.
    """
    other = max((DENSE, LEXICAL), key=lambda mode: _mean(quality[mode]))
    differences = np.array(
        [quality[HYBRID][query] - quality[other][query] for query in quality[HYBRID]]
    )
    random_rows = np.random.default_rng(0).integers(
        0, len(differences), (RESAMPLINGS, len(differences))
    )
    low, high = np.percentile(differences[random_rows].mean(axis=1), [2.5, 97.5])
    return f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f}), {other}"


def _report(
    alone: Sequence[tuple[str, Quality]],
    reranked: Sequence[tuple[str, Quality]],
    options: argparse.Namespace,
) -> str:
    how = (
        f"nDCG@10. Alone: ten hits, all queries. Reranked: {options.queries} sampled queries a "
        f"set, {options.candidates} candidates of each mode, ordered by both stages. In brackets "
        "the 95% interval of a paired bootstrap. Dense search is exact. Made by "
        "`make bench-hybrid`."
    )
    return "\n".join(
        [
            f"# What embeddings, words, and both find, {datetime.now(UTC):%Y-%m-%d}",
            "",
            how,
            "",
            _tables(alone, reranked),
            "",
            *(f"- {what}: {value}" for what, value in describe()),
        ]
    )


if __name__ == "__main__":
    main()
