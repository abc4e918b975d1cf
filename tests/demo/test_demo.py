from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from demo.__main__ import COLLECTION, QUESTIONS, ask, forget_if_outdated, index, what_changed
from demo.server_process import ServerProcess
from demo.stdlib_corpus import write_corpus
from demo.steps import Steps
from finesieve_client import Client, Comparison
from tests.conftest import StartServer

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


def test_a_collection_that_this_server_cannot_query_is_made_again(
    start_server: StartServer,
) -> None:
    server = start_server("--models", "none")
    with Client(server.address) as client:
        client.create_collection(COLLECTION, caller_embeds=True, dimension=3)

        forget_if_outdated(client)

        assert list(client.all_collections()) == []


def test_every_question_is_answered_by_both_stages(
    comparisons: list[Comparison], shown: StringIO
) -> None:
    assert [each.query for each in comparisons] == list(QUESTIONS)
    assert all(hit.HasField("score") for each in comparisons for hit in each.hits)
    assert all(question in shown.getvalue() for question in QUESTIONS)


def test_copying_a_folder_is_answered_by_shutil(comparisons: list[Comparison]) -> None:
    best = [hit.passage.metadata["name"] for hit in comparisons[0].second_stage]

    assert "shutil.copytree" in best


def test_the_summary_says_of_a_question_what_came_first_before_and_after(
    comparisons: list[Comparison],
) -> None:
    summary = {each.query: what_changed(each) for each in comparisons}

    unchanged = summary["check whether a year is a leap year"]
    assert "calendar.isleap, as before" in unchanged
    changed = summary["ask the user for a password without showing it"]
    assert changed.endswith("getpass → [bold]getpass.unix_getpass[/]")


def test_steps_say_what_is_done_and_in_the_end_where_the_time_went() -> None:
    console = Console(file=StringIO(), width=80, record=True)
    steps = Steps(console, 2)

    with steps.take("Read") as step:
        step.result = "7 passages"
    console.print(steps.table())

    told = console.export_text()
    assert "1/2 Read" in told
    assert "7 passages (0.0 s)" in told
    assert told.splitlines()[-1].split() == ["Read", "0.0", "s"]
