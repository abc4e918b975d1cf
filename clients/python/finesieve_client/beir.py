"""Read a folder in BEIR's layout: a corpus, queries, and which passages answer which query."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finesieve_client.rows import parse_object, read_lines

QRELS = ("qrels.tsv", "qrels/test.tsv", "qrels/dev.tsv")


class BadFolder(Exception):
    """A folder that is not in BEIR's layout; says what is missing or wrong."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One labelled set. `relevant` has a grade per passage id for every query of `queries`."""

    name: str
    corpus: Path
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]


def read_folder(path: Path) -> Folder:
    """Return the queries that have at least one relevant passage; raises BadFolder."""
    relevant = _read_qrels(_first_of(path, QRELS))
    texts = _read_queries(_first_of(path, ("queries.jsonl", "queries.jsonl.gz")))
    queries = {query: texts[query] for query in relevant if query in texts}
    if not queries:
        raise BadFolder(f"{path}: no query of queries.jsonl is in the qrels")
    if empty := [query for query, text in queries.items() if not text.strip()]:
        raise BadFolder(f"{path}: the text of query {empty[0]!r} is empty")
    return Folder(
        name=path.resolve().name,
        corpus=_first_of(path, ("corpus.jsonl", "corpus.jsonl.gz")),
        queries=queries,
        relevant={query: relevant[query] for query in queries},
    )


def collection_name(folder: str, sha256: str) -> str:
    """Return the name of the collection that holds a corpus with this content."""
    words = re.sub(r"[^a-z0-9_-]+", "-", folder.lower()).strip("-_")
    named = words if words[:1].isalpha() else f"set-{words}"
    return f"{named[:50]}-{sha256[:8]}"


def _first_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BadFolder(f"{folder}: has none of {', '.join(names)}")


def _read_queries(path: Path) -> dict[str, str]:
    queries = {}
    for number, line in enumerate(read_lines(str(path)), start=1):
        if line.isspace():
            continue
        try:
            row = parse_object(line)
        except ValueError as error:
            raise BadFolder(f"{path}: line {number} {error}") from error
        text = row.get("text") or ""
        if not isinstance(text, str):
            raise BadFolder(f"{path}: line {number} has a text that is no string")
        queries[str(row.get("_id", row.get("id", "")))] = text
    return queries


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    relevant: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if number == 1 and row[-1:] == ["score"]:
                continue
            try:
                query, passage, grade = row
                relevant.setdefault(query, {})[passage] = int(grade)
            except ValueError as error:
                raise BadFolder(
                    f"{path}: line {number} is not query-id, corpus-id and score, with tabs between"
                ) from error
    return {query: grades for query, grades in relevant.items() if max(grades.values()) > 0}
