"""The commands that ask a model to rerank, judge and write, through the real server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from demo.server_process import ServerProcess
from finesieve_client import Client, passage
from finesieve_client.cli import app
from tests.client.rag.llm_server import Answer, Fault, LlmServer, Script

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


def test_an_answer_of_the_passages_own_words_rests_on_them(client: Client, tmp_path: Path) -> None:
    written = tmp_path / "triad.html"

    result, llm = run(client, None, "triad", QUESTION, "-c", COLLECTION, "--html", str(written))
    found = values(run(client, None, "triad", QUESTION, "-c", COLLECTION, "--json")[0])

    (answer,) = found["answers"]
    assert "Bats" in answer["answer"]
    assert answer["groundedness"] == 1.0
    assert answer["answer_relevance"] > 0.5
    assert 0 < answer["context_relevance"] < 1
    assert answer["passages"][0]["id"] == "bat"
    assert all(each["passages"] for each in answer["statements"])
    assert "Bats are the only mammals that fly" in result.stdout
    assert "groundedness" in result.stdout
    assert "Bats are the only mammals that fly" in written.read_text(encoding="utf-8")
    assert llm.requests == []


def test_a_question_beside_the_subject_is_a_refusal_without_values(client: Client) -> None:
    question = "What is the interest rate of the central bank?"

    found = values(run(client, None, "triad", question, "-c", COLLECTION, "--json")[0])

    (answer,) = found["answers"]
    assert answer["refused"] is True
    assert answer["groundedness"] is None
    assert found["means"]["num_refused"] == 1


def test_given_answers_are_measured_as_they_are_and_judged_by_a_model(
    client: Client, tmp_path: Path
) -> None:
    def judge_answers(request: dict[str, Any]) -> Answer:
        if "grade" in request["messages"][0]["content"]:
            return '{"grade": 3}'
        statements = re.findall(
            r'"statement": (\d+), "text": "(.*)"', request["messages"][1]["content"]
        )
        return json.dumps(
            {
                "statements": [
                    {"statement": int(number), "passages": [1] if "Bats" in text else []}
                    for number, text in statements
                ]
            }
        )

    rows = [
        {"question": QUESTION, "answer": "Bats do. So do owls.", "passages": [TEXTS["bat"]]},
        {"question": "Who sings?", "answer": "Whales sing.", "passages": []},
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))

    arguments = ("triad", "-f", str(file), "--llm-prices", "1,1")
    found = values(run(client, judge_answers, *arguments, "--json")[0])
    shown, _ = run(client, judge_answers, *arguments)

    assert [each["groundedness"] for each in found["answers"]] == [0.5, 0.0]
    assert found["means"]["groundedness"] == 0.25
    assert found["means"]["answer_relevance"] == 1.0
    assert {each["judge"] for each in found["answers"]} == {"scripted"}
    assert re.search(r"mean\s+\d\.\d\d\s+0\.25\s+1\.00", shown.stdout)
    assert "scripted: 4 calls" in shown.stderr
    assert "cost" in shown.stderr


def test_a_model_answers_and_judges_and_one_bad_judgment_costs_one_answer(
    client: Client,
) -> None:
    def answer_and_judge(request: dict[str, Any]) -> Answer:
        system, asked = (message["content"] for message in request["messages"])
        if "grade" in system:
            return "Very good!" if "honey" in asked else '{"grade": 3}'
        if "statements" in system:
            return '{"statements": [{"statement": 1, "passages": [1]}]}'
        return "Bats do [1]."

    arguments = ("triad", QUESTION, "Who makes honey?", "-c", COLLECTION, "--json")
    result, llm = run(client, answer_and_judge, *arguments)

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    (answer,) = found["answers"]
    assert (answer["answer"], answer["groundedness"]) == ("Bats do [1].", 1.0)
    assert answer["statements"] == [{"text": "Bats do.", "passages": [1]}]
    (unread,) = found["unread"]
    assert unread["question"] == "Who makes honey?"
    assert "no grade" in unread["reason"] or "not JSON" in unread["reason"]
    assert "not judged: Who makes honey?: " in result.stderr
    assert len(llm.requests) == 6


def test_a_call_that_fails_costs_one_answer(client: Client) -> None:
    def answer_and_judge(request: dict[str, Any]) -> Answer:
        system, asked = (message["content"] for message in request["messages"])
        if "honey" in asked.splitlines()[-1]:
            return Fault(429, "slow down", headers={"retry-after-ms": "1"})
        if "grade" in system:
            return '{"grade": 3}'
        if "statements" in system:
            return '{"statements": [{"statement": 1, "passages": [1]}]}'
        return "Bats do [1]."

    arguments = ("triad", "Who makes honey?", QUESTION, "-c", COLLECTION, "--json")
    result, _ = run(client, answer_and_judge, *arguments)

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [each["question"] for each in found["answers"]] == [QUESTION]
    (unread,) = found["unread"]
    assert "takes no more calls now" in unread["reason"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"question": 5}', "needs question and answer"),
        ('{"question": "a", "answer": "b"}', "needs question and answer"),
        ('{"question": "a", "answer": "b", "passages": [1]}', "needs question and answer"),
        ('{"question": ', "is not JSON"),
    ],
)
def test_a_bad_line_of_answers_is_named(
    client: Client, tmp_path: Path, line: str, problem: str
) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(f"What?\n{line}\n")

    result, _ = run(client, None, "triad", "-f", str(file))

    assert result.exit_code == 2
    assert f"line 2 of {file}: " in result.stderr
    assert problem in result.stderr


def newsletter(*statements: tuple[str, list[int]]) -> str:
    stated = [{"text": text, "passages": passages} for text, passages in statements]
    sections = [{"heading": "Động vật", "statements": stated}]
    return json.dumps({"title": "Bản tin", "sections": sections})


def test_a_stored_document_becomes_a_newsletter_in_vietnamese(client: Client) -> None:
    script = newsletter(("Dơi bay trong đêm.", [1]), ("Bịa đặt.", [99]), ("Ong làm mật.", [3]))
    arguments = ("repurpose", "animals.md", "-c", COLLECTION, "--as", "newsletter", "-l", "vi")

    result, llm = run(client, script, *arguments, "--llm-prices", "1,1")
    found = values(run(client, script, *arguments, "--json")[0])

    assert result.stdout.split("\n\n") == [
        "# Bản tin",
        "## Động vật",
        "Dơi bay trong đêm. [1] Ong làm mật. [3]",
        "---",
        "- [1] Bat\n- [3] Bee\n",
    ]
    assert "1 statements left out" in result.stderr
    assert "1 calls" in result.stderr
    prompt = llm.prompts()[0]
    assert [prompt.index(text) for text in TEXTS.values()] == sorted(
        prompt.index(text) for text in TEXTS.values()
    )
    assert {number: each["id"] for number, each in found["passages"].items()} == {
        "1": "bat",
        "3": "bee",
    }
    assert found["left_out"] == 1


def test_a_file_becomes_a_thread_whose_long_posts_are_named(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "eels.md"
    file.write_text("# Eels\n\nEuropean eels spawn in the Sargasso Sea.\n")
    script = newsletter(("Eels spawn far away. " * 20, [1]))

    result, llm = run(client, script, "repurpose", str(file), "--as", "thread")

    assert result.exit_code == 0, result.stderr
    assert "1. Eels spawn far away." in result.stdout
    assert "post 1 has 419 characters; 280 were asked for" in result.stderr
    assert "European eels spawn in the Sargasso Sea." in llm.prompts()[0]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "problem"),
    [
        (("nowhere.md",), 1, "nowhere.md: No such file"),
        (("other.md", "-c", COLLECTION), 2, "no passage of rag-tools has the document_id"),
        (("animals.md", "-c", COLLECTION, "-l", "?"), 2, "the language is '?'"),
        (("animals.md", "-c", COLLECTION, "--token-budget", "9"), 2, "9 are allowed"),
        (("animals.md", "-c", COLLECTION, "--as", "poem"), 2, "poem"),
    ],
)
def test_a_document_that_cannot_be_repurposed_says_why(
    client: Client, arguments: tuple[str, ...], exit_code: int, problem: str
) -> None:
    result, llm = run(client, newsletter(("x", [1])), "repurpose", *arguments)

    assert result.exit_code == exit_code
    assert problem in result.stderr
    assert llm.requests == []
