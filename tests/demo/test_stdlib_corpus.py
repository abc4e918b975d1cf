import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse

from demo.stdlib_corpus import Row, cut, read_corpus, read_python_module, write_corpus
from finesieve.v1.passages_pb2 import Passage


@pytest.fixture(scope="module")
def corpus() -> dict[str, Row]:
    rows = list(read_corpus())
    by_id = {row.id: row for row in rows}
    assert len(by_id) == len(rows), "an id stands twice"
    return by_id


def test_the_corpus_has_some_thousand_passages(corpus: dict[str, Row]) -> None:
    assert 5_000 < len(corpus) < 10_000


def test_the_same_python_gives_the_same_corpus_in_the_same_order(corpus: dict[str, Row]) -> None:
    assert list(read_corpus()) == list(corpus.values())


@pytest.mark.parametrize(
    "name",
    [
        "shutil",
        "shutil.copytree",
        "sched.scheduler.enterabs",
        "asyncio.tasks.gather",
        "math.sqrt",
        "itertools.chain",
        "builtins.str.join",
    ],
)
def test_modules_classes_functions_and_methods_are_there(corpus: dict[str, Row], name: str) -> None:
    assert corpus[name].text


@pytest.mark.parametrize("name", ["os.rename", "collections.deque", "struct.pack", "csv.reader"])
def test_what_is_written_in_c_has_the_name_that_people_import(
    corpus: dict[str, Row], name: str
) -> None:
    assert corpus[name].document_id == name.rpartition(".")[0]


def test_nothing_private_and_no_tests_are_in_it(corpus: dict[str, Row]) -> None:
    parts = {part for name in corpus for part in name.partition("#")[0].split(".")}

    assert not [part for part in parts if part.startswith("_")]
    assert not parts & {"idlelib", "lib2to3", "test", "tests", "posix"}


def test_passages_of_a_document_are_numbered_from_0_without_a_gap(corpus: dict[str, Row]) -> None:
    ordinals: dict[str, list[int]] = {}
    for row in corpus.values():
        ordinals.setdefault(row.document_id, []).append(row.ordinal)

    assert all(found == list(range(len(found))) for found in ordinals.values())


def test_a_title_is_what_the_caller_writes(corpus: dict[str, Row]) -> None:
    assert corpus["sched.scheduler.cancel"].title == "sched.scheduler.cancel(event)"
    assert corpus["builtins.str.join"].title == "builtins.str.join(iterable, /)"
    assert corpus["math"].title == "math"


def test_every_line_is_a_passage_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"

    num_passages = write_corpus(path)

    lines = path.read_text(encoding="utf-8").splitlines()
    passages = [Parse(line, Passage()) for line in lines]
    assert len(passages) == num_passages
    assert all(1 <= len(passage.id.encode()) <= 256 and passage.text for passage in passages)


def test_modules_in_python_are_read_without_being_imported() -> None:
    script = (
        "import sys; from demo.stdlib_corpus import read_corpus; list(read_corpus());"
        "print(sorted({'antigravity', 'http.server', 'pdb', 'sqlite3', 'turtle'} & {*sys.modules}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_definitions_in_every_branch_count_and_the_first_of_a_name_wins() -> None:
    source = b"""
try:
    def fast(): "in C"
except ImportError:
    def slow(): "in Python"
if True:
    class Shape:
        "has area"
        def area(self, unit='m'): "in square metres"
        def _secret(self): "hidden"
def undocumented(): ...
"""

    entries = [(entry.name, entry.kind) for entry in read_python_module("shapes", source)]

    assert entries == [
        ("shapes.fast", "function"),
        ("shapes.slow", "function"),
        ("shapes.Shape", "class"),
        ("shapes.Shape.area", "method"),
    ]


def test_a_long_text_is_cut_between_paragraphs() -> None:
    first, second = "one " * 10, "two " * 10

    assert list(cut(f"{first}\n\n{second}", 60)) == [first.rstrip(), second]


def test_a_text_without_a_place_to_cut_is_cut_anywhere_and_loses_nothing() -> None:
    assert list(cut("x" * 25, 10)) == ["x" * 10, "x" * 10, "x" * 5]
