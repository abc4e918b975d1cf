from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from demo.__main__ import QUESTIONS, ask, index, what_changed
from demo.server_process import ServerProcess
from demo.stdlib_corpus import write_corpus
from demo.steps import Steps
from finesieve_client import Comparison

MODULES = ("calendar", "getpass", "glob", "random", "sched", "shutil", "threading")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = tmp_path_factory.mktemp("demo") / "stdlib.jsonl"
    write_corpus(whole)
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    part = whole.with_name("part.jsonl")
    wanted = tuple(f'{{"id": "{module}' for module in MODULES)
    part.write_text("".join(line for line in lines if line.startswith(wanted)), encoding="utf-8")
    return part


@pytest.fixture(scope="module")
def shown() -> StringIO:
    return StringIO()


@pytest.fixture(scope="module")
def comparisons(server: ServerProcess, corpus: Path, shown: StringIO) -> list[Comparison]:
    index(server.address, corpus, len(corpus.read_text(encoding="utf-8").splitlines()))
    return ask(Console(file=shown, width=200), server.address)


def test_a_second_run_embeds_nothing_again(
    server: ServerProcess, corpus: Path, comparisons: list[Comparison]
) -> None:
    num_passages = len(corpus.read_text(encoding="utf-8").splitlines())

    said = index(server.address, corpus, num_passages)

    assert said == f"0 passages embedded and stored, {num_passages:,} were there"


def test_every_question_is_answered_by_both_stages(
    comparisons: list[Comparison], shown: StringIO
) -> None:
    assert [each.query for each in comparisons] == list(QUESTIONS)
    assert all(hit.HasField("score") for each in comparisons for hit in each.hits)
    assert all(question in shown.getvalue() for question in QUESTIONS)


def test_copying_a_folder_is_answered_by_shutil(comparisons: list[Comparison]) -> None:
    best = [hit.passage.metadata["name"] for hit in comparisons[0].second_stage]

    assert "shutil.copytree" in best


def test_the_summary_has_a_line_for_every_question(comparisons: list[Comparison]) -> None:
    console = Console(file=StringIO(), width=200, record=True)

    console.print(what_changed(comparisons))

    summary = console.export_text()
    assert all(question in summary for question in QUESTIONS)


def test_steps_say_what_is_done_and_in_the_end_where_the_time_went() -> None:
    console = Console(file=StringIO(), width=80, record=True)
    steps = Steps(console, 2)

    with steps.take("Read") as step:
        step.result = "7 passages"
    console.print(steps.table())

    told = console.export_text()
    assert "1/2 Read" in told
    assert told.count("7 passages") == 2
