"""Hostile texts stay in their line of every other prompt, too, as text and as title."""

import json
import unicodedata
from collections.abc import Callable

import pytest

from finesieve_client import passage
from finesieve_client.rag.json_answer import UnreadableAnswer
from finesieve_client.rag.judging import judge_answer, judge_support
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.prompt import visible
from finesieve_client.rag.queries import expand
from finesieve_client.rag.repurpose import repurpose
from finesieve_client.rag.routing import route
from finesieve_client.rag.tournament import tournament
from tests.client.rag.hostile_passages import HOSTILE
from tests.client.rag.llm_server import LlmServer

QUESTION = "Where do eels spawn?"

# What asks a model about a text, the lines of its prompt that are not JSON, and how many are.
ASKED: dict[str, tuple[Callable[[str, Llm], object], list[str], int]] = {
    "tournament": (
        lambda text, llm: tournament(
            QUESTION, [passage("a", text, title=text), passage("b", "eels")], llm, calls_at_once=1
        ),
        [f"Question: {QUESTION}", "", "Pair 1:"],
        2,
    ),
    "support": (
        lambda text, llm: judge_support(llm, [text], [passage("a", text, title=text)]),
        ["1 passages:", "", "1 statements:"],
        2,
    ),
    "grade": (
        lambda text, llm: judge_answer(llm, QUESTION, text),
        ["", f"Question: {QUESTION}"],
        1,
    ),
    "repurpose": (
        lambda text, llm: repurpose([passage("a", text, title=text)], "summary", "vi", llm),
        ["1 passages:"],
        1,
    ),
    "route": (
        lambda text, llm: route(QUESTION, {"docs": text}, llm),
        ["", f"Question: {QUESTION}"],
        1,
    ),
}


@pytest.mark.parametrize("asked", ASKED)
def test_hostile_texts_stay_in_their_lines(asked: str) -> None:
    ask, others, num_fenced = ASKED[asked]
    with LlmServer("not JSON") as server, Llm("m", base_url=server.base_url) as llm:
        for text in HOSTILE.values():
            with pytest.raises(UnreadableAnswer):
                ask(text, llm)
    calls = len(server.requests) // len(HOSTILE)

    for at, text in enumerate(HOSTILE.values()):
        for request in server.requests[at * calls : (at + 1) * calls]:
            prompt = request["messages"][-1]["content"]
            lines = prompt.splitlines()  # at every kind of line's end
            fenced = [json.loads(line) for line in lines if line.startswith("{")]
            assert [line for line in lines if not line.startswith("{")] == others
            assert len(fenced) == num_fenced
            assert visible(text) in [value for fields in fenced for value in fields.values()]
            assert not {"Cc", "Cf", "Zl", "Zp"} & {
                unicodedata.category(character) for character in prompt if character != "\n"
            }


def test_a_hostile_question_stays_in_its_line() -> None:
    with LlmServer("not JSON") as server, Llm("m", base_url=server.base_url) as llm:
        for text in HOSTILE.values():
            with pytest.raises(UnreadableAnswer):
                expand(text, llm)

    for request in server.requests:
        (line,) = request["messages"][-1]["content"].splitlines()
        assert line.startswith("Question: ")
