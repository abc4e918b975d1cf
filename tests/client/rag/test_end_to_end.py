"""Answers over the real server with its bundled models; only the language model is scripted."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from demo.server_process import ServerProcess
from finesieve_client import AsyncClient, Client, document, passage
from finesieve_client.rag import AsyncLlm, AsyncRag, Llm, Rag
from finesieve_client.rag.turn import REFUSAL
from tests.client.rag.llm_server import LlmServer

ANIMALS = {
    "whale": "Whales are mammals that live in the sea. They breathe air through a blowhole.",
    "bee": "Honey bees live in colonies. They dance to show where flowers are.",
    "salmon": "Salmon hatch in rivers and grow in the ocean. They return upstream to spawn.",
    "bat": "Bats are the only mammals that fly. They find insects at night by echo.",
    "penguin": "Penguins are birds that cannot fly. They swim, mostly in the cold south.",
    "camel": "Camels store fat in their humps. They go for days without water.",
}
QUESTION = "How do bats find insects at night?"
COLLECTION = "rag-animals"


@pytest.fixture(scope="module")
def address(server: ServerProcess) -> str:
    """Return the server's address, with a collection of ANIMALS."""
    with Client(server.address) as client:
        client.create_collection(COLLECTION)
        client.upsert_passages(
            COLLECTION,
            [
                passage(name, text, title=name.title(), document_id="animals", ordinal=at)
                for at, (name, text) in enumerate(ANIMALS.items())
            ],
        )
    return server.address


def about_bats(request: dict[str, Any]) -> str:
    """Answer by the number of the passage about bats, as a model would that reads well."""
    lines = request["messages"][-1]["content"].splitlines()
    passages = [json.loads(line) for line in lines if line.startswith("{")]
    (number,) = (each["number"] for each in passages if "Bats are" in each["text"])
    return f"Bats find insects by echo [{number}], and so do whales [99]."


def test_a_model_answers_with_the_passage_that_says_so(address: str) -> None:
    with LlmServer(about_bats) as llm, Client(address) as client:
        answer = Rag(client, COLLECTION, Llm("m", base_url=llm.base_url)).ask(QUESTION)

    assert answer.text.endswith("by echo [1], and so do whales.")
    (citation,) = answer.citations
    assert (citation.passage_id, citation.document_id) == ("bat", "animals")
    assert citation.quote == "They find insects at night by echo."
    assert ANIMALS["bat"][slice(*citation.span)] == citation.quote
    assert answer.sources[0].probability is not None
    assert answer.sources[0].probability > 0.9


async def test_the_same_for_asyncio_with_a_window(address: str) -> None:
    with LlmServer(about_bats) as llm:
        async with (
            AsyncClient(address) as client,
            AsyncLlm("m", base_url=llm.base_url) as model,
        ):
            rag = AsyncRag(client, COLLECTION, model, top_n=1, window=1)
            answer = await rag.ask(QUESTION)

    (source,) = answer.sources
    assert source.text == "\n".join(ANIMALS[name] for name in ("salmon", "bat", "penguin"))
    assert [citation.passage_id for citation in answer.citations] == ["bat"]


def test_without_a_model_the_sentence_that_says_so_answers(address: str) -> None:
    with Client(address) as client:
        answer = Rag(client, COLLECTION).ask(QUESTION)

    assert answer.text.splitlines()[0] == "They find insects at night by echo. [1]"
    assert answer.citations[0].passage_id == "bat"


def test_a_question_beside_the_subject_is_refused(address: str) -> None:
    with LlmServer("never said") as llm, Client(address) as client:
        rag = Rag(client, COLLECTION, Llm("m", base_url=llm.base_url))

        answer = rag.ask("What does the tax law of 1986 say about interest on mortgages?")

    assert answer.refused
    assert answer.text == REFUSAL
    assert llm.requests == []


def test_a_filter_of_the_question_holds(address: str) -> None:
    with Client(address) as client:
        answer = Rag(client, COLLECTION).ask(QUESTION, filter=document("plants"))

    assert answer.refused


def test_the_budget_is_counted_by_the_collections_own_model(address: str) -> None:
    with Client(address) as client:
        answer = Rag(client, COLLECTION, token_budget=60).ask(QUESTION)
        counted = client.count_tokens([source.text for source in answer.sources]).tokens

    assert 1 <= len(answer.sources) < len(ANIMALS)
    assert sum(counted) <= 60


def test_a_collection_whose_caller_embeds_is_counted_by_an_estimate(address: str) -> None:
    with Client(address) as client:
        client.create_collection("rag-embedded", caller_embeds=True, dimension=3)
        client.upsert_passages(
            "rag-embedded", [passage("bat", ANIMALS["bat"], embedding=[1.0, 0.0, 0.0])]
        )

        answer = Rag(client, "rag-embedded").ask(QUESTION, retrieval_queries=[[1.0, 0.1, 0.0]])

    assert answer.citations[0].passage_id == "bat"


def test_the_command_needs_no_openai_where_no_model_is_named(address: str) -> None:
    program = (
        "import sys; sys.modules['openai'] = None\n"
        "from finesieve_client.cli import app\n"
        f"sys.argv = ['finesieve', 'ask', {QUESTION!r}, '-c', {COLLECTION!r}, *sys.argv[1:]]\n"
        "app()"
    )
    environment = {**os.environ, "FINESIEVE_SERVER": address}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    offline, by_a_model = run(), run("--llm", "m", "--base-url", "http://127.0.0.1:1/v1")

    assert offline.returncode == 0, offline.stderr
    assert offline.stdout.startswith("They find insects at night by echo. [1]\n")
    assert by_a_model.returncode == 1
    assert "pip install 'finesieve[rag]'" in by_a_model.stderr
