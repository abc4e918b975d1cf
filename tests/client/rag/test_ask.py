"""`finesieve ask` against a scripted server and a scripted model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from finesieve.v1.embedding_pb2 import CountTokensResponse
from finesieve.v1.passages_pb2 import Collection
from finesieve.v1.retrieval_pb2 import GetCollectionResponse, ListCollectionsResponse
from finesieve.v1.search_pb2 import SearchRequest, SearchResponse
from finesieve_client.cli import app
from tests.client.rag.found import EELS, TAXES, TROUT, hit
from tests.client.rag.llm_server import Fault, LlmServer, Reply
from tests.client.scripted_server import ScriptedServer

DOCS = Collection(name="docs", embedding_model="minilm")
ANSWER = "Eels spawn in the Sargasso Sea [1]. Trout do not [2][9]."


class Server:
    def __init__(self) -> None:
        self.found = [
            hit(EELS, id="eels", title="Eels", probability=0.9),
            hit(TROUT, id="trout", probability=0.5),
            hit(TAXES, id="taxes", probability=0.01),
        ]
        self.searches: list[SearchRequest] = []
        self.running = ScriptedServer(
            {
                "ListCollections": lambda _, __: ListCollectionsResponse(collections=[DOCS]),
                "GetCollection": lambda _, __: GetCollectionResponse(collection=DOCS),
                "CountTokens": lambda request, _: CountTokensResponse(
                    tokens=[len(text.split()) for text in request.texts]
                ),
                "Search": self.search,
            }
        )

    def search(self, request: SearchRequest, _: object) -> SearchResponse:
        self.searches.append(request)
        return SearchResponse(hits=self.found)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.running:
        yield server


def run(server: Server, *arguments: str, **environment: str) -> Result:
    settings: dict[str, str | None] = {
        "FINESIEVE_SERVER": server.running.target,
        "COLUMNS": "120",
        "OPENAI_MODEL": None,
        "OPENAI_BASE_URL": None,
        "OPENAI_API_KEY": None,
    }
    return CliRunner().invoke(
        app, ["ask", "Where do eels spawn?", *arguments], env=settings | environment
    )


def values(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_answer_stands_above_what_it_cites(server: Server) -> None:
    with LlmServer(ANSWER) as llm:
        result = run(server, "--llm", "small", "--base-url", llm.base_url)

    assert result.exit_code == 0, result.stderr
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "Eels spawn in the Sargasso Sea [1]. Trout do not [2].",
        "",
        "[1] Eels  eels  probability 0.900",
        "    0–40  European eels spawn in the Sargasso Sea.",
        "",
        "[2] trout  probability 0.500",
        "    0–27  Trout spawn in cold rivers.",
    ]
    assert "2 of 3 passages cited from docs; small, " in result.stderr
    assert llm.requests[0]["model"] == "small"


def test_without_a_model_it_works_offline(server: Server) -> None:
    result = run(server)

    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("European eels spawn in the Sargasso Sea. [1]\n")
    assert "without a language model (--llm MODEL)" in result.stderr


def test_settings_come_from_the_environment(server: Server) -> None:
    with LlmServer(ANSWER, api_key="secret") as llm:
        result = run(
            server, OPENAI_MODEL="m", OPENAI_BASE_URL=llm.base_url, OPENAI_API_KEY="secret"
        )

    assert result.stdout.startswith("Eels spawn in the Sargasso Sea [1].")


def test_the_key_may_come_from_a_file(server: Server, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    with LlmServer(ANSWER, api_key="secret") as llm:
        result = run(server, "--llm", "m", "--base-url", llm.base_url, "--api-key-file", str(key))

    assert result.exit_code == 0, result.stderr


def test_all_of_it_as_json(server: Server) -> None:
    with LlmServer(ANSWER) as llm:
        answer = values(run(server, "--llm", "m", "--base-url", llm.base_url, "--json"))

    assert answer["collection"] == "docs"
    assert answer["text"] == "Eels spawn in the Sargasso Sea [1]. Trout do not [2]."
    assert [citation["passage_id"] for citation in answer["citations"]] == ["eels", "trout"]
    assert answer["citations"][0]["span"] == [0, 40]
    assert [source["number"] for source in answer["sources"]] == [1, 2, 3]
    assert answer["sources"][0]["probability"] == pytest.approx(0.9)
    assert answer["usage"]["calls"] == 1
    assert answer["refused"] is False


def test_nothing_relevant_is_said_and_is_no_failure(server: Server) -> None:
    result = run(server, "--min-probability", "0.95")

    assert result.exit_code == 0
    assert result.stdout == "Nothing that answers this question was found.\n"
    assert "nothing relevant found in docs" in result.stderr


def test_the_search_is_what_its_options_say(server: Server) -> None:
    arguments = "-c docs -n 3 --retrieve-k 40 --mode hybrid --window 1 --model m -w year>=2020"

    assert run(server, *arguments.split()).exit_code == 0

    (search,) = server.searches
    assert (search.collection, search.top_n, search.retrieve_k) == ("docs", 3, 40)
    assert search.context.window == 1
    assert search.rerank.model == "m"
    assert search.filter.range.field == "year"


def test_an_endpoint_that_is_down_is_one_line(server: Server) -> None:
    with LlmServer(ANSWER) as llm:
        base_url = llm.base_url

    result = run(server, "--llm", "m", "--base-url", base_url)

    assert result.exit_code == 1
    assert "is not reachable, or hung up; check the base URL" in result.stderr
    assert base_url in result.stderr
    assert "Traceback" not in result.output


def test_a_wrong_key_is_one_line(server: Server) -> None:
    with LlmServer(ANSWER, api_key="secret") as llm:
        result = run(server, "--llm", "m", "--base-url", llm.base_url, OPENAI_API_KEY="wrong")

    assert result.exit_code == 1
    assert "check OPENAI_API_KEY" in result.stderr


def test_an_error_does_not_stand_in_the_answers_line(server: Server) -> None:
    with LlmServer(Reply(ANSWER, hang_up_after=3)) as llm:
        result = run(server, "--llm", "m", "--base-url", llm.base_url)

    assert result.exit_code == 1
    assert result.stdout == "Eels spawn in\n"
    assert "hung up" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--base-url", "http://127.0.0.1:1/v1"), "--llm MODEL is needed with --base-url"),
        (("--token-budget", "3"), "token_budget is 3; the title and first"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    server: Server, arguments: tuple[str, ...], words: str
) -> None:
    result = run(server, *arguments)

    assert result.exit_code == 2
    assert words in result.stderr


def test_a_model_without_a_key_or_an_endpoint_says_what_to_set(server: Server) -> None:
    result = run(server, "--llm", "m")

    assert result.exit_code == 1
    assert "set OPENAI_API_KEY" in result.stderr
    assert server.searches == []


def test_neither_passages_nor_answers_command_the_terminal(server: Server) -> None:
    server.found = [hit("Eels\x1b[31m spawn\u202e [bold]here[/bold].", id="p\u2066", title="\x07T")]
    with LlmServer("Eels \x1b]0;title\x07 spawn [bold]here[/bold]\n [1].") as llm:
        result = run(server, "--llm", "m", "--base-url", llm.base_url)

    assert result.exit_code == 0, result.stderr
    for character in "\x1b\x07\u202e\u2066":
        assert character not in result.stdout
    assert "[bold]here[/bold]\n [1]." in result.stdout


def test_an_endpoints_own_words_do_not_command_the_terminal(server: Server) -> None:
    with LlmServer(Fault(401, "no\x1b[31m")) as llm:
        result = run(server, "--llm", "m", "--base-url", llm.base_url)

    assert "\x1b[31mno" not in result.stderr
    assert "no [31m" in result.stderr


def test_json_holds_nothing_that_commands_a_terminal_or_that_nobody_sees(server: Server) -> None:
    hidden = "\x9b31m \u202e \u200b \U000e0041 \ufeff"
    with LlmServer(f"Eels {hidden} [1].") as llm:
        result = run(server, "--llm", "small", "--base-url", llm.base_url, "--json")

    assert values(result)["text"] == f"Eels {hidden} [1]."
    assert "\\udb40\\udc41" in result.stdout
    assert not set(hidden.replace(" ", "").replace("31m", "")) & set(result.stdout)
