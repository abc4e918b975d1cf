"""`finesieve evaluate --rewrite` through the real server, its model scripted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from demo.server_process import ServerProcess
from finesieve_client.cli import app
from tests.client.rag.llm_server import Answer, Fault, LlmServer, Script

TEXTS = {
    "bat": "Bats are the only mammals that fly; they find insects at night by echo.",
    "bee": "Honey bees live in colonies, dance to show where flowers are, and make honey.",
    "eel": "European eels spawn in the Sargasso Sea. Their larvae drift back for two years.",
}
QUERIES = {"q1": "Which animal flies in the dark?", "q2": "Who makes honey?"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a labelled folder in BEIR's layout."""
    folder = tmp_path / "rewritten"
    folder.mkdir()

    def write(name: str, texts: Mapping[str, str]) -> None:
        rows = ({"_id": key, "text": text} for key, text in texts.items())
        (folder / name).write_text("\n".join(map(json.dumps, rows)))

    write("corpus.jsonl", TEXTS)
    write("queries.jsonl", QUERIES)
    (folder / "qrels.tsv").write_text("q1\tbat\t1\nq2\tbee\t1\n")
    return folder


def rewritten(request: dict[str, Any]) -> Answer:
    prompt = "\n".join(message["content"] for message in request["messages"])
    return json.dumps({"queries": ["bats hunt by echo" if "dark" in prompt else "bees"]})


def run(server: ServerProcess, script: Script, *arguments: str) -> tuple[Result, LlmServer]:
    with LlmServer(script) as llm:
        environment = {
            "FINESIEVE_SERVER": server.address,
            "COLUMNS": "120",
            "OPENAI_BASE_URL": llm.base_url,
            "OPENAI_API_KEY": "",
            "OPENAI_MODEL": "m",
        }
        return CliRunner().invoke(app, ["evaluate", *arguments], env=environment), llm


def test_each_way_is_measured_beside_the_question_as_it_is(
    server: ServerProcess, folder: Path
) -> None:
    result, llm = run(
        server,
        rewritten,
        *(str(folder), "--rewrite", "hyde,step-back", "--llm-prices", "1,2", "--json"),
    )

    assert result.exit_code == 0, result.stderr
    measured = json.loads(result.stdout)
    assert [each.get("rewrite") for each in measured["modes"]] == [None, "hyde", "step-back"]
    for each in measured["modes"]:
        assert each["quality"]["both"]["nDCG@10"] == 1.0
        assert ("rewrite" in each["latency"]) is ("rewrite" in each)
    for spent in measured["rewriters"].values():
        assert spent["calls"] == 2
        tokens = spent["prompt_tokens"] + 2 * spent["completion_tokens"]
        assert spent["cost"] == pytest.approx(tokens / 1e6)
        assert spent["unread"] == 0
    assert len(llm.requests) == 4


def test_all_modes_search_for_the_same_rewrites(server: ServerProcess, folder: Path) -> None:
    result, llm = run(server, rewritten, str(folder), "--rewrite", "hyde", "--mode", "all")

    assert result.exit_code == 0, result.stderr
    assert len(llm.requests) == len(QUERIES)


def test_the_table_says_what_the_model_took(server: ServerProcess, folder: Path) -> None:
    result, _ = run(server, rewritten, str(folder), "--rewrite", "all", "--llm-prices", "1,2")

    assert result.exit_code == 0, result.stderr
    for name in ("dense", "dense, decompose", "dense, expand", "dense, hyde", "dense, step-back"):
        assert name in result.stdout.splitlines()
    (head,) = [line for line in result.stdout.splitlines() if "prompt tokens" in line]
    assert head.split() == ["calls", "prompt", "tokens", "completion", "tokens", "cost"]


def test_a_question_whose_answer_makes_no_sense_is_retrieved_with_as_it_is(
    server: ServerProcess, folder: Path
) -> None:
    result, _ = run(server, "Sure!", str(folder), "--rewrite", "expand", "--json")
    told, _ = run(server, "Sure!", str(folder), "--rewrite", "expand")

    plain, expanded = json.loads(result.stdout)["modes"]
    assert expanded["quality"]["both"] == plain["quality"]["both"]
    assert json.loads(result.stdout)["rewriters"]["expand"]["unread"] == 2
    assert "expand: 2 answers made no sense" in told.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "exit_code", "problem"),
    [
        (Fault(401), ("--rewrite", "hyde"), 1, "key"),
        ("", ("--rewrite", "hyde,hide"), 2, "--rewrite is 'hide'; allowed: decompose, expand"),
        ("", ("--rewrite", "hyde", "--llm-prices", "1"), 2, "--llm-prices is '1'; write two"),
        ("", ("--rewrite", "hyde", "--llm-prices", "1,nan"), 2, "a finite number from 0"),
    ],
)
def test_what_cannot_work_is_one_line(
    server: ServerProcess,
    folder: Path,
    script: Script,
    arguments: tuple[str, ...],
    exit_code: int,
    problem: str,
) -> None:
    result, _ = run(server, script, str(folder), *arguments)

    assert result.exit_code == exit_code
    assert problem in result.stderr.splitlines()[-1]


def test_a_model_is_asked_for_before_anything_is_stored(tmp_path: Path) -> None:
    arguments = ["evaluate", str(tmp_path), "--rewrite", "hyde"]

    result = CliRunner().invoke(app, arguments, env={"OPENAI_MODEL": ""})

    assert result.exit_code == 1
    assert "set OPENAI_MODEL" in result.stderr
