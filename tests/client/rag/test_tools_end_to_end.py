"""The commands that ask a model to rerank, judge and write, through the real server."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from demo.server_process import ServerProcess
from finesieve_client import Client, passage
from finesieve_client.cli import app
from tests.client.rag.llm_server import Answer, LlmServer, Script

COLLECTION = "rag-tools"
TEXTS = {
    "bat": "Bats are the only mammals that fly; they find insects at night by echo.",
    "whale": "Whales are mammals that live in the sea and breathe air through a blowhole.",
    "bee": "Honey bees live in colonies, dance to show where flowers are, and make honey.",
    "salmon": "Salmon hatch in rivers, grow in the ocean and return upstream to spawn.",
    "eagle": "Eagles are large birds of prey with strong beaks that nest on high cliffs.",
    "snake": "Snakes have no legs, smell with their tongue and swallow their prey whole.",
}
QUESTION = "Which animal finds insects in the dark by echo?"


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        client.create_collection(COLLECTION)
        client.upsert_passages(
            COLLECTION,
            [
                passage(name, text, title=name.title(), document_id="animals.md", ordinal=at)
                for at, (name, text) in enumerate(TEXTS.items())
            ],
        )
        yield client


def run(client: Client, script: Script | None, *arguments: str) -> tuple[Result, LlmServer]:
    with LlmServer(script or "") as llm:
        environment = {
            "FINESIEVE_SERVER": client.target,
            "COLUMNS": "120",
            "OPENAI_BASE_URL": llm.base_url,
            "OPENAI_API_KEY": "",
            "OPENAI_MODEL": "scripted" if script else "",
        }
        return CliRunner().invoke(app, list(arguments), env=environment), llm


def values(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def judge(request: dict[str, Any]) -> Answer:
    """Prefer the passage that comes first in the alphabet, wherever it stands."""
    prompt = request["messages"][-1]["content"]
    pairs = re.findall(r'Pair (\d+):\n.*"title": "(\w+)".*\n.*"title": "(\w+)"', prompt)
    return json.dumps(
        {
            "verdicts": [
                {"pair": int(number), "better": "A" if first < second else "B"}
                for number, first, second in pairs
            ]
        }
    )


def test_a_tournament_is_set_beside_the_cross_encoders_order(client: Client) -> None:
    arguments = ("tournament", QUESTION, "-c", COLLECTION, "--llm-prices", "1,1")

    found = values(run(client, judge, *arguments, "--json")[0])
    shown, _ = run(client, judge, *arguments)

    assert found["order"] == sorted(TEXTS)
    assert (found["pairs"], found["consistent"], found["unread"]) == (15, 15, 0)
    assert found["usage"]["calls"] == 4
    assert found["usage"]["cost"] > 0
    for agreement in found["agreement"].values():
        assert -1 <= agreement["kendall_tau"] <= 1
        assert set(agreement["overlap"]) == {"1", "3", "5"}
    assert found["agreement"]["cross-encoder"]["overlap"]["1"] == 1.0  # both have the bat first
    assert re.search(r"1\s+Bat  bat\s+\d\s+1\s+0\.\d{3}", shown.stdout)
    assert "Kendall's tau" in shown.stdout
    assert "15 pairs, 15 judged alike in both orders; 4 calls" in shown.stderr


def test_a_judge_that_always_says_a_agrees_with_the_first_stage(client: Client) -> None:
    verdicts = json.dumps({"verdicts": [{"pair": n, "better": "A"} for n in range(1, 9)]})

    found = values(run(client, verdicts, "tournament", QUESTION, "-c", COLLECTION, "--json")[0])

    assert found["order"] == found["first_stage"]
    assert found["agreement"]["first stage"]["kendall_tau"] == 1.0
    assert found["consistent"] == 0


def test_a_tournament_needs_a_model(client: Client) -> None:
    result, _ = run(client, None, "tournament", QUESTION, "-c", COLLECTION)

    assert result.exit_code == 1
    assert "set OPENAI_MODEL" in result.stderr
