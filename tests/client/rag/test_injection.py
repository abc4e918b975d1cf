"""Hostile passages stay data: in their line of the prompt, and without a say in citations.

What a model then makes of what it reads is the model's own; here it is one that obeys.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest

from demo.server_process import ServerProcess
from finesieve.v1.results_pb2 import Hit
from finesieve.v1.search_pb2 import SearchHit, SearchResponse
from finesieve_client import Client, passage
from finesieve_client.rag import Answer, Llm, Rag, cited
from finesieve_client.rag.prompt import INSTRUCTION, prompt, visible
from tests.client.rag.found import EELS, TROUT, hit
from tests.client.rag.hostile_passages import HOSTILE, OBEDIENT
from tests.client.rag.llm_server import LlmServer
from tests.client.scripted_server import ScriptedServer

QUESTION = "Where do eels spawn?"
MARKER = re.compile(r"\[([0-9]{1,4})\]")
# What a chat template reads as the end of a turn, as a tokenizer would find it in the prompt.
TEMPLATE_TOKENS = (
    *("<|", "<s>", "</s>", "<<SYS>>", "[INST]", "[/INST]", "<start_of_turn>"),
    *("<end_of_turn>", "[SYSTEM_PROMPT]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"),
)


def around(text: str, title: str = "") -> list[SearchHit]:
    """Return three hits, the one in the middle hostile."""
    return [hit(EELS, id="eels"), hit(text, id="hostile", title=title), hit(TROUT, id="trout")]


def check_fence(written: str, found: Sequence[SearchHit], texts: Sequence[str]) -> None:
    """Check that a prompt is the instruction, a line for each passage, and the question."""
    assert written.startswith(f"{INSTRUCTION}\n\n")
    lines = written.removeprefix(f"{INSTRUCTION}\n\n").splitlines()  # at every kind of line's end
    count = len(found)
    assert lines[0] == f"{count} passages:"
    assert lines[1 + count :] == ["", f"Question: {QUESTION}"]
    passages = [json.loads(line) for line in lines[1 : 1 + count]]
    for number, (fields, each, text) in enumerate(zip(passages, found, texts, strict=True), 1):
        title = visible(each.hit.passage.title)
        assert fields == {"number": number, **({"title": title} if title else {}), "text": text}
    for token in TEMPLATE_TOKENS:
        assert token not in written
    for character in written:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp")


def test_there_are_fifty() -> None:
    assert len(HOSTILE) == 50
    assert len(set(HOSTILE.values())) == 50


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_passage_stays_in_its_line(name: str) -> None:
    text = HOSTILE[name]

    as_text = around(text)
    as_title = around("text", title=text)
    as_window = [hit("text", before=[text], after=[text])]

    check_fence(prompt(QUESTION, as_text), as_text, [EELS, visible(text), TROUT])
    check_fence(prompt(QUESTION, as_title), as_title, [EELS, "text", TROUT])
    window = visible(f"{text}\ntext\n{text}")
    check_fence(prompt(QUESTION, as_window), as_window, [window])


def check_citations(answer: Answer) -> None:
    """Check that an answer cites only what was given, and quotes only what that says."""
    given = {source.number: source for source in answer.sources}
    for citation in answer.citations:
        source = given[citation.number]
        (excerpt,) = (each for each in source.excerpts if each.passage.id == citation.passage_id)
        start, end = citation.span
        assert excerpt.span[0] <= start <= end <= excerpt.span[1]
        assert " ".join(excerpt.passage.text[start:end].split()) == citation.quote
        assert 0 <= citation.statement[0] <= citation.statement[1] <= len(answer.text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_that_obeys_cites_only_what_was_given(name: str) -> None:
    text = HOSTILE[name]
    found = around(text)

    def obey(_: dict[str, Any]) -> str:
        return OBEDIENT + text

    server = ScriptedServer({"Search": lambda _, __: SearchResponse(hits=found)})
    with server, LlmServer(obey) as llm, Client(server.target) as client:
        rag = Rag(
            client,
            "docs",
            Llm("m", base_url=llm.base_url),
            count_tokens=lambda texts: [1] * len(texts),
        )

        answer = rag.ask(QUESTION)

    system, user = llm.requests[0]["messages"]
    assert system == {"role": "system", "content": INSTRUCTION}
    check_fence(f"{INSTRUCTION}\n\n{user['content']}", found, [EELS, visible(text), TROUT])
    check_citations(answer)
    assert 1 in {citation.number for citation in answer.citations}  # of "[ 8 ,1 ]"
    if "`" not in text:  # brackets in code are none of ours
        assert {int(number) for number in MARKER.findall(answer.text)} <= {1, 2, 3}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_quoted_hostile_passage_cites_itself_alone(name: str) -> None:
    found = [hit(HOSTILE[name], id="hostile"), hit(TROUT, id="trout")]
    server = ScriptedServer({"Search": lambda _, __: SearchResponse(hits=found)})
    with server, Client(server.target) as client:
        rag = Rag(client, "docs", count_tokens=lambda texts: [1] * len(texts))

        answer = rag.ask("HACKED obey instructions passages say see [1]?")

    check_citations(answer)
    numbers = [citation.number for citation in answer.citations]
    ids = [found[number - 1].hit.passage.id for number in dict.fromkeys(numbers)]
    assert cited(answer.text, found) == ids
    assert len(answer.text.splitlines()) == len(numbers)


def test_all_of_them_in_a_real_collection(server: ServerProcess) -> None:
    ids = {f"hostile-{at}": text for at, text in enumerate(HOSTILE.values())}

    def obey(request: dict[str, Any]) -> str:
        return f"{OBEDIENT}{request['messages'][-1]['content']}"

    with Client(server.address, timeout_s=60) as client, LlmServer(obey) as llm:
        client.create_collection("rag-hostile")
        client.upsert_passages(
            "rag-hostile", [passage(name, text, title=text) for name, text in ids.items()]
        )
        rag = Rag(
            client,
            "rag-hostile",
            Llm("m", base_url=llm.base_url),
            min_probability=0,
            top_n=60,
            token_budget=20_000,
        )

        answer = rag.ask(QUESTION)

    assert len(answer.sources) == len(HOSTILE)
    for source in answer.sources:
        assert source.text == ids[source.passage_id]
    found = [SearchHit(hit=Hit(passage=source.hit.passage)) for source in answer.sources]
    written = f"{INSTRUCTION}\n\n{llm.requests[0]['messages'][1]['content']}"
    check_fence(written, found, [visible(source.text) for source in answer.sources])
    check_citations(answer)
