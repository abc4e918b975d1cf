"""Measure what counts as support without a language model: words, the cross-encoder, or both.

    python -m benchmarks.support DATA... [--claims DATA...] [--statements 200] [--write]

DATA are folders in BEIR's layout. A statement is a sentence of a passage, which supports it, while
the passages beside it in the corpus, mostly of the same document, do not. Of --claims the queries
are the statements: what is relevant supports them, and what shares most words with them besides
does not.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.progress import track

from benchmarks.machine import describe, write_report
from benchmarks.tables import table
from demo.server_process import ServerProcess
from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.rerank_pb2 import Document
from finesieve_client import Client
from finesieve_client.beir import read_folder
from finesieve_client.rag.sentences import sentences, words
from finesieve_client.rag.triad import SUPPORTED, probabilities, share_of_words
from finesieve_client.rows import Row, read_lines, read_rows

LEAST_WORDS = 8  # of a sentence that states something
WORDS, CROSS_ENCODER, BOTH = WAYS = ("words", "cross-encoder", "both")

ABOUT = f"""\
The share of passages found to support a statement: by at least {SUPPORTED} of its words, of the \
cross-encoder's probability, or of both, as `finesieve triad` has it. A sentence is supported by \
its own passage, and not by the one before and the one after it in the corpus. A claim is \
supported by the abstract that is its evidence, for or against it, and not by the two others that \
share most words with it. Made by `python -m benchmarks.support`."""


@dataclass(frozen=True, slots=True)
class Case:
    """A statement with a passage that supports it, and some that do not."""

    statement: str
    supporting: Passage
    others: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Found:
    """How much of a statement each way finds in one passage, and whether it is there."""

    values: dict[str, float]
    is_there: bool


def main() -> None:
    arguments = _arguments()
    with TemporaryDirectory() as home:
        server = ServerProcess(Path(home) / "data", Path(home) / "server.log")
        with server, Client(server.wait_until_serving().address, timeout_s=300) as client:
            rows = [row for each in _sets(arguments) for row in _rows(client, *each)]
    report = _report(rows)
    print(report)
    if arguments.write:
        write_report("support", report)


def _report(rows: Sequence[Sequence[str]]) -> str:
    title = f"# What counts as support without a language model, {datetime.now(UTC):%Y-%m-%d}"
    head = ("set", "statements", "by", "of passages that support", "of others")
    machine = [f"- {what}: {value}" for what, value in describe()]
    return "\n".join([title, "", ABOUT, "", table(head, rows), "", *machine])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--claims", type=Path, nargs="*", default=[])
    parser.add_argument("--statements", type=int, default=200, help="of each set; seeded")
    parser.add_argument("--write", action="store_true", help="keep the report in docs/benchmarks")
    return parser.parse_args()


def _sets(arguments: argparse.Namespace) -> Iterator[tuple[str, str, list[Case]]]:
    chosen = random.Random(0)
    for folder in arguments.data:
        yield folder.name, "sentences", _sentences(folder, arguments.statements, chosen)
    for folder in arguments.claims:
        yield folder.name, "claims", _claims(folder, arguments.statements, chosen)


def _sentences(folder: Path, count: int, chosen: random.Random) -> list[Case]:
    passages = _passages(folder)
    cases: list[Case] = []
    for at in chosen.sample(range(1, len(passages) - 1), len(passages) - 2):
        text = passages[at].text
        spans = [span for span in sentences(text) if len(words(text[slice(*span)])) >= LEAST_WORDS]
        if len(cases) < count and spans:
            statement = text[slice(*chosen.choice(spans))]
            cases.append(Case(statement, passages[at], [passages[at - 1], passages[at + 1]]))
    return cases


def _claims(folder: Path, count: int, chosen: random.Random) -> list[Case]:
    labelled = read_folder(folder)
    passages = {each.id: each for each in _passages(folder)}
    held = {name: set(words(f"{each.title} {each.text}")) for name, each in passages.items()}
    cases = []
    for query in chosen.sample(sorted(labelled.queries), min(count, len(labelled.queries))):
        statement, relevant = labelled.queries[query], labelled.relevant[query]
        said = set(words(statement))
        alike = sorted(
            held.keys() - relevant.keys(), key=lambda name: (-len(said & held[name]), name)
        )
        right = next(name for name, grade in relevant.items() if grade > 0)
        cases.append(Case(statement, passages[right], [passages[name] for name in alike[:2]]))
    return cases


def _passages(folder: Path) -> list[Passage]:
    rows = read_rows(read_lines(str(read_folder(folder).corpus)))
    return [row.passage for row in rows if isinstance(row, Row)]


def _rows(
    client: Client, name: str, kind: str, cases: Sequence[Case]
) -> Iterator[tuple[str, str, str, str, str]]:
    found = [each for case in track(cases, name) for each in _found(client, case)]
    for way in WAYS:
        shares = []
        for is_there in (True, False):
            values = [each.values[way] for each in found if each.is_there is is_there]
            shares.append(f"{sum(value >= SUPPORTED for value in values) / len(values):.0%}")
        yield name, f"{len(cases)} {kind}", way, shares[0], shares[1]


def _found(client: Client, case: Case) -> Iterator[Found]:
    passages = [case.supporting, *case.others]
    documents = [Document(title=each.title, text=each.text) for each in passages]
    scored = probabilities(client, case.statement, documents)
    for passage, probability in zip(passages, scored, strict=True):
        share = share_of_words(case.statement, passage)
        values = {WORDS: share, CROSS_ENCODER: probability, BOTH: min(share, probability)}
        yield Found(values, passage is case.supporting)


if __name__ == "__main__":
    main()
