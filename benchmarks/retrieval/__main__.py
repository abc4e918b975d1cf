"""Measure the first stage at a million passages, and beside hnswlib and faiss.

    make bench-retrieval ARGS="DATA [--passages 1000000] [--sections ...] [--keep DIR] [--write]"

DATA holds sets in BEIR's layout; passages are made of their texts (corpus.py says how). What was
embedded is kept in .bench/retrieval, and with --keep the loaded data directory as well: then a run
that was cut short, or other sections, need not load again. The server runs with --models none.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import grpc

from benchmarks.machine import dated_path, describe, write_report
from benchmarks.peers.environment import FOLDER
from benchmarks.pictures import draw_recall_against_throughput
from benchmarks.retrieval import beside, lexical, million, selective
from benchmarks.retrieval.corpus import Corpus
from benchmarks.retrieval.embeddings import Embedder
from benchmarks.retrieval.results import Curve, Section, tell
from benchmarks.tables import figure_table, table

LOADED = {  # sections that ask the large collection
    "starts": million.starts,
    "answers": million.answers,
    "filters": selective.measure,
    "lexical": lexical.measure,
}
SECTIONS = ("beside", "load", *LOADED)
CACHE = FOLDER / "retrieval"
PICTURE = "retrieval.svg"


def main() -> None:
    arguments = _arguments()
    # So that what runs is stopped and what was made is removed, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    tell("texts and embeddings")
    embed = Embedder(CACHE).embed
    corpus = Corpus(arguments.data, arguments.passages, arguments.seed, CACHE, embed)
    sections: list[Section] = []
    curves: dict[str, Curve] = {}
    with _folder(arguments.keep) as folder:
        if "beside" in arguments.sections:
            with tempfile.TemporaryDirectory(dir=folder) as beside_folder:
                section, curves = beside.measure(corpus, Path(beside_folder))
            _take(sections, section)
        if set(arguments.sections) - {"beside"}:
            data_dir, section = million.loaded(corpus, folder)
            _take(sections, section)
            for name, measure in LOADED.items():
                if name in arguments.sections:
                    _take(sections, _measured(name, partial(measure, corpus, data_dir)))
    report = _report(corpus, sections, bool(curves))
    print(f"\n{report}")
    if arguments.write:
        write_report("retrieval", report)
        if curves:
            draw_recall_against_throughput(dated_path(PICTURE), curves)


def _measured(name: str, measure: Callable[[], Section]) -> Section:
    """Return what was measured, or why not: what other sections measured took long."""
    try:
        return measure()
    except grpc.RpcError as error:
        return Section(f"Not measured: {name}", [], [f"The server refused: {error.details()}"])


def _take(sections: list[Section], section: Section) -> None:
    """Keep what was measured, and print it: a later section may fail."""
    sections.append(section)
    print(f"\n{_markdown(section)}\n", flush=True)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="finesieve-bench-") as folder:
            yield Path(folder)
    else:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep


def _report(corpus: Corpus, sections: Sequence[Section], picture: bool) -> str:
    what = (
        f"Measured by `make bench-retrieval` over {len(corpus)} passages of"
        f" {corpus.vectors.shape[1]} dimensions and ninety words: {len(corpus.real)} real"
        " sentences' embeddings, the others moved along the difference of two and renormalised."
        f" Queries are {len(corpus.questions.texts)} real questions."
    )
    return "\n\n".join(
        [
            f"# The first stage, {datetime.now(UTC):%Y-%m-%d}",
            what,
            figure_table(figure for section in sections for figure in section.figures),
            *([f"![Recall against throughput]({dated_path(PICTURE).name})"] if picture else []),
            *(_markdown(section) for section in sections),
            table(("machine", ""), describe()),
        ]
    )


def _markdown(section: Section) -> str:
    return "\n\n".join([f"## {section.title}", *section.blocks])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("data", type=Path, help="folder of sets in BEIR's layout")
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="all, by default"
    )
    parser.add_argument("--keep", type=Path, help="folder of the loaded data, kept and used again")
    parser.add_argument("--write", action="store_true", help="keep the report in docs/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
