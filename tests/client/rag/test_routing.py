import json

import pytest

from finesieve_client.rag.json_answer import UnreadableAnswer
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.routing import route
from tests.client.rag.llm_server import LlmServer

COLLECTIONS = {"animals": "zoology", "manuals": 'how to use "things"\nand repair them'}


def routed(answer: str) -> list[str]:
    with LlmServer(answer) as server:
        return route("How does a bat hunt?", COLLECTIONS, Llm("m", base_url=server.base_url))


def test_names_come_back_in_the_models_order_each_once() -> None:
    names = ["manuals", "animals", "manuals"]

    assert routed(json.dumps({"collections": names})) == ["manuals", "animals"]


def test_names_that_are_not_there_are_left_out() -> None:
    assert routed('{"collections": ["cooking", "animals", 5, null, []]}') == ["animals"]


def test_none_is_an_answer_too() -> None:
    assert routed('{"collections": []}') == []


def test_only_names_that_are_not_there_are_no_answer() -> None:
    with pytest.raises(UnreadableAnswer, match="chose 'cooking'; there are: animals, manuals"):
        routed('{"collections": ["cooking"]}')


def test_the_model_is_told_what_each_collection_holds_and_may_name_no_other() -> None:
    with LlmServer('{"collections": []}') as server:
        route("How?", COLLECTIONS, Llm("m", base_url=server.base_url))

    (request,) = server.requests
    lines = request["messages"][-1]["content"].splitlines()
    assert [json.loads(line) for line in lines[:2]] == [
        {"collection": "animals", "holds": "zoology"},
        {"collection": "manuals", "holds": COLLECTIONS["manuals"]},
    ]
    assert lines[2:] == ["", "Question: How?"]
    schema = request["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["collections"]["items"]["enum"] == ["animals", "manuals"]


def test_there_is_something_to_choose_from() -> None:
    with LlmServer("") as server, pytest.raises(ValueError, match="no collections"):
        route("How?", {}, Llm("m", base_url=server.base_url))
