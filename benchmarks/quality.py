"""Measure what each stage finds, and what quantization cost, over folders in BEIR's layout.

    python -m benchmarks.quality DATA --model int8=FOLDER,FOLDER [--model fp32=FOLDER,FOLDER]

DATA holds one folder a set; each --model names a bi-encoder's and a cross-encoder's folder. The
runtime that serves them runs here in process (a score depends on the pair alone, so the server's
are the same bits), retrieval is exact, and what was computed is kept in --cache, so that a run that
was interrupted goes on. The second stage reads the candidates of the first --model's first stage
for a seeded sample of queries; its rows compare like with like.
"""

import argparse
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ir_measures
import numpy as np
from ir_measures import R, nDCG
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.machine import describe, write_report
from benchmarks.workload import frame_pairs, read_rows
from finesieve_server.runtime.artifact import read_artifact
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from finesieve_server.runtime.tokenizer import Framed
from finesieve_server.search.blend import blend
from finesieve_server.search.texts import full_text

BATCH_TOKENS = 1024
DEPTH = 100

Array = NDArray[np.float32]
Run = dict[str, dict[str, float]]  # query id -> passage id -> score


@dataclass(frozen=True, slots=True)
class Dataset:
    """A corpus with its questions, and which passages answer them."""

    name: str
    passages: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Stages:
    """The two models of one precision."""

    precision: str
    bi_encoder: BiEncoder
    cross_encoder: CrossEncoder


@dataclass(frozen=True, slots=True)
class Row:
    """nDCG@10 of one set at one precision: all queries, then the sampled ones."""

    dataset: str
    precision: str
    first_stage: float
    recall_100: float
    first_stage_sampled: float
    cross_encoder: float
    blended: float


def main() -> None:
    arguments = _arguments()
    stages = [load(each, arguments.threads) for each in arguments.model]
    folders = sorted(each.parent for each in arguments.data.glob("*/qrels.tsv"))
    if arguments.sets:
        folders = [each for each in folders if each.name in arguments.sets]
    rows: list[Row] = []
    for folder in folders:
        rows += _measure(read_dataset(folder), stages, arguments)
        print(_table(rows), flush=True)
    report = _report(rows, arguments)
    if arguments.write:
        write_report("quality", report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", required=True, help="precision=folder,folder")
    parser.add_argument("--sets", nargs="*", help="names of folders; all by default")
    parser.add_argument("--queries", type=int, default=100, help="sampled for the second stage")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path(".quality-cache"))
    parser.add_argument("--write", action="store_true", help="keep the report in docs/")
    return parser.parse_args()


def load(option: str, threads: int) -> Stages:
    precision, _, folders = option.partition("=")
    bi_encoder, cross_encoder = (read_artifact(Path(each)) for each in folders.split(","))
    return Stages(
        precision,
        BiEncoder(bi_encoder, threads=threads),
        CrossEncoder(cross_encoder, threads=threads),
    )


def read_dataset(folder: Path) -> Dataset:
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, passage, relevance = line.split("\t")
        qrels.setdefault(query, {})[passage] = int(relevance)
    return Dataset(
        folder.name,
        {
            row["_id"]: full_text(row.get("title", ""), row["text"])
            for row in read_rows(folder, "corpus")
        },
        {row["_id"]: row["text"] for row in read_rows(folder, "queries") if row["_id"] in qrels},
        qrels,
    )


def _measure(data: Dataset, stages: Sequence[Stages], options: argparse.Namespace) -> list[Row]:
    queries = sorted(data.queries)
    sample = random.Random(0).sample(queries, min(options.queries, len(queries)))
    retrieved = {each.precision: nearest(data, each, options.cache) for each in stages}
    candidates = {
        query: _best(retrieved[stages[0].precision][query], options.candidates) for query in sample
    }
    rows = []
    for each in stages:
        first_stage = retrieved[each.precision]
        logits = _rerank(data, each, candidates, options.cache)
        in_order = {
            query: blended(logits[query], candidates[query], each.cross_encoder) for query in sample
        }
        rows.append(
            Row(
                data.name,
                each.precision,
                *_metrics(data, first_stage, queries),
                _metrics(data, first_stage, sample)[0],
                _metrics(data, logits, sample)[0],
                _metrics(data, in_order, sample)[0],
            )
        )
    return rows


def nearest(data: Dataset, stages: Stages, cache: Path) -> Run:
    """Return each query's nearest passages by exact search."""
    model = stages.bi_encoder
    vectors = {}
    for kind, texts, prefix in (
        ("queries", data.queries, model.manifest.query_prefix),
        ("passages", data.passages, model.manifest.passage_prefix),
    ):
        ids = model.tokenizer.encode([prefix + text for text in texts.values()])
        framed = [model.frame(each) for each in ids]
        key = f"{data.name}-{kind}-{stages.precision}"
        vectors[kind] = cached(cache, key, model.run, framed)
    names = list(data.passages)
    run: Run = {}
    for query, scores in zip(data.queries, vectors["queries"] @ vectors["passages"].T, strict=True):
        best = np.argsort(-scores)[:DEPTH]
        run[query] = {names[at]: float(scores[at]) for at in best}
    return run


def _rerank(data: Dataset, stages: Stages, candidates: Run, cache: Path) -> Run:
    """Return the cross-encoder's logit of every candidate."""
    model = stages.cross_encoder
    framed: list[Framed] = []
    for query, passages in candidates.items():
        texts = [data.passages[each] for each in passages]
        framed += frame_pairs(model, data.queries[query], texts)
    logits = iter(cached(cache, f"{data.name}-logits-{stages.precision}", model.run, framed))
    return {
        query: {passage: float(next(logits)) for passage in passages}
        for query, passages in candidates.items()
    }


def cached(
    cache: Path, key: str, run: Callable[[Sequence[Framed]], Array], framed: Sequence[Framed]
) -> Array:
    """Run all of it, shortest first, or return what an earlier run made of the same tokens."""
    digest = hashlib.sha256()
    for each in framed:
        digest.update(each.ids.tobytes())
    path = cache / f"{key}-{digest.hexdigest()[:12]}.npy"
    if path.exists():
        return np.asarray(np.load(path), np.float32)
    order = sorted(range(len(framed)), key=lambda at: len(framed[at]))
    batches: list[list[int]] = [[]]
    for at in order:
        if len(framed[at]) * (len(batches[-1]) + 1) > BATCH_TOKENS and batches[-1]:
            batches.append([])
        batches[-1].append(at)
    rows: dict[int, Array] = {}
    for batch in track(batches, description=key):
        rows.update(zip(batch, run([framed[at] for at in batch]), strict=True))
    result = np.array([rows[at] for at in range(len(framed))], np.float32)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, result)
    return result


def _best(scores: Mapping[str, float], count: int) -> dict[str, float]:
    return dict(list(scores.items())[:count])


def blended(
    logits: Mapping[str, float], first_stage: Mapping[str, float], model: CrossEncoder
) -> dict[str, float]:
    orderings = blend(
        np.array(list(logits.values())),
        np.array([first_stage[each] for each in logits]),
        model.manifest.first_stage_weight,
    )
    return dict(zip(logits, orderings.tolist(), strict=True))


def _metrics(data: Dataset, run: Run, queries: Sequence[str]) -> tuple[float, float]:
    """Return nDCG@10 and recall@100 over these queries."""
    measured = ir_measures.calc_aggregate(
        [nDCG @ 10, R @ 100],
        {query: data.qrels[query] for query in queries},
        {query: run[query] for query in queries},
    )
    return measured[nDCG @ 10], measured[R @ 100]


def _table(rows: Sequence[Row]) -> str:
    columns = ["set", "precision", "first stage", "recall@100"]
    columns += ["first stage, sampled", "cross-encoder alone, sampled", "blended, sampled"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        numbers = (
            row.first_stage,
            row.recall_100,
            row.first_stage_sampled,
            row.cross_encoder,
            row.blended,
        )
        cells = " | ".join(f"{number:.4f}" for number in numbers)
        lines.append(f"| {row.dataset} | {row.precision} | {cells} |")
    return "\n".join(lines)


def _report(rows: Sequence[Row], options: argparse.Namespace) -> str:
    how = (
        f"nDCG@10; retrieval exact. Second stage: {options.queries} sampled queries a set, "
        f"{options.candidates} candidates each. Made by `python -m benchmarks.quality`."
    )
    return "\n".join(
        [
            f"# What each stage finds, {datetime.now(UTC):%Y-%m-%d}",
            "",
            how,
            "",
            _table(rows),
            "",
            *(f"- {what}: {value}" for what, value in describe()),
        ]
    )


if __name__ == "__main__":
    main()
