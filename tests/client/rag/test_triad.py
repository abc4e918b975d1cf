import json
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest

from finesieve.v1.rerank_pb2 import RerankRequest, RerankResponse, RerankResult
from finesieve.v1.results_pb2 import Failure, Score
from finesieve_client import Client, passage
from finesieve_client.rag.completion import Usage
from finesieve_client.rag.json_answer import UnreadableAnswer
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.triad import Triad, means, statements_of, triad
from finesieve_client.rag.triad_page import page
from tests.client.rag.llm_server import Answer, LlmServer, Script
from tests.client.scripted_server import ScriptedServer

QUESTION = "Where do eels spawn?"
PASSAGES = [
    passage("eels", "European eels spawn in the Sargasso Sea.", title="Eels"),
    passage("trout", "Trout spawn in cold rivers."),
]
ANSWER = "European eels spawn in the Sargasso Sea [1]. Eels are ruled by the moon [2, 1]."


class Server:
    """Finds every pair of texts relevant as `probability` says; by default by shared eels."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.probability: dict[str, float] = {}

    def rerank(self, request: RerankRequest, _: grpc.ServicerContext) -> RerankResponse:
        self.asked.append((request.query, [each.text for each in request.documents]))
        results = []
        for index, each in enumerate(request.documents):
            if not each.text:
                results.append(RerankResult(index=index, failure=Failure(message="is empty")))
                continue
            found = self.probability.get(each.text, 0.9 if "eels" in each.text.lower() else 0.1)
            results.append(RerankResult(index=index, score=Score(probability=found)))
        return RerankResponse(results=reversed(results))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with ScriptedServer({"Rerank": server.rerank}) as running, Client(running.target) as client:
        yield client


def judged(client: Client, script: Script, answer: str = ANSWER) -> tuple[Triad, LlmServer]:
    with LlmServer(script) as llm:
        model = Llm("judge", base_url=llm.base_url)
        found = triad(client, QUESTION, answer, PASSAGES, model)
        assert found.usage == model.usage
    return found, llm


def judge(supporting: Mapping[int, list[Any]], grade: object) -> Script:
    """Return a script that supports statements so, and grades the answer so."""

    def answer(request: dict[str, Any]) -> Answer:
        if "grade" in request["messages"][0]["content"]:
            return json.dumps({"grade": grade})
        statements = [
            {"statement": number, "passages": passages} for number, passages in supporting.items()
        ]
        return json.dumps({"statements": statements})

    return answer


def test_context_relevance_is_the_mean_of_the_cross_encoders_probabilities(
    client: Client, server: Server
) -> None:
    found = triad(client, QUESTION, ANSWER, PASSAGES)

    assert server.asked[0] == (QUESTION, [each.text for each in PASSAGES])
    assert found.relevance == pytest.approx((0.9, 0.1))
    assert found.context_relevance == pytest.approx(0.5)


def test_without_a_model_a_statement_needs_half_of_its_words_in_a_relevant_passage(
    client: Client, server: Server
) -> None:
    found = triad(client, QUESTION, ANSWER, PASSAGES)

    first, second = found.statements
    assert first.text == "European eels spawn in the Sargasso Sea."
    assert first.passages == (1,)
    assert second.text == "Eels are ruled by the moon."
    assert second.passages == ()  # the passage is relevant to it, but has two of its six words
    assert found.groundedness == 0.5
    assert found.judge == ""
    assert found.usage == Usage()


def test_without_a_model_shared_words_alone_support_nothing(client: Client, server: Server) -> None:
    server.probability[PASSAGES[0].text] = 0.49

    assert triad(client, QUESTION, ANSWER, PASSAGES).groundedness == 0.0


def test_without_a_model_the_cross_encoder_reads_the_answer_as_a_passage(
    client: Client, server: Server
) -> None:
    found = triad(client, QUESTION, ANSWER, PASSAGES)

    cited_nothing = "European eels spawn in the Sargasso Sea. Eels are ruled by the moon."
    assert (QUESTION, [cited_nothing]) in server.asked
    assert found.answer_relevance == pytest.approx(0.9)


def test_a_model_judges_support_and_answer_in_two_calls(client: Client) -> None:
    found, llm = judged(client, judge({1: [1], 2: []}, 2))

    assert found.groundedness == 0.5
    assert found.answer_relevance == pytest.approx(2 / 3)
    assert [each.passages for each in found.statements] == [(1,), ()]
    assert found.judge == "judge"
    assert found.usage.calls == len(llm.requests) == 2


def test_statements_and_passages_are_lines_of_json_to_the_model(client: Client) -> None:
    _, llm = judged(client, judge({1: [1], 2: []}, 2))

    assert llm.requests[0]["messages"][-1]["content"].splitlines() == [
        "2 passages:",
        '{"passage": 1, "title": "Eels", "text": "European eels spawn in the Sargasso Sea."}',
        '{"passage": 2, "text": "Trout spawn in cold rivers."}',
        "",
        "2 statements:",
        '{"statement": 1, "text": "European eels spawn in the Sargasso Sea."}',
        '{"statement": 2, "text": "Eels are ruled by the moon."}',
    ]
    assert llm.requests[1]["messages"][-1]["content"].splitlines()[1:] == [
        "",
        f"Question: {QUESTION}",
    ]


def test_only_passages_that_were_given_support_anything(client: Client) -> None:
    found, _ = judged(client, judge({1: [3, 0, -1, 99, "1", None], 2: [2, 2, 1]}, 3))

    assert [each.passages for each in found.statements] == [(), (1, 2)]


@pytest.mark.parametrize(
    ("supporting", "grade", "problem"),
    [
        ({1: [1]}, 3, "did not judge 1 of 2 statements"),
        ({1: [1], 2: []}, True, "no grade"),
        ({}, 3, "did not judge 2 of 2 statements"),
        ({1: [], 2: []}, 4, "no grade of 0 to 3"),
        ({1: [], 2: []}, "3", "no grade of 0 to 3"),
        ({1: [], 2: []}, None, "no grade of 0 to 3"),
    ],
)
def test_a_judgment_that_is_none_is_an_error(
    client: Client, supporting: Mapping[int, list[Any]], grade: object, problem: str
) -> None:
    with pytest.raises(UnreadableAnswer, match=problem):
        judged(client, judge(supporting, grade))


def test_a_refusal_states_nothing_and_no_model_is_asked(client: Client) -> None:
    with LlmServer("") as llm:
        model = Llm("judge", base_url=llm.base_url)
        found = triad(client, QUESTION, "Nothing was found.", PASSAGES, model, refused=True)

    assert found.refused
    assert found.context_relevance == pytest.approx(0.5)
    assert found.groundedness is None
    assert found.answer_relevance is None
    assert llm.requests == []


def test_an_answer_without_passages_rests_on_nothing(client: Client) -> None:
    found = triad(client, QUESTION, "Eels spawn.", [])

    assert found.context_relevance is None
    assert found.groundedness == 0.0


def test_a_passage_that_cannot_be_scored_counts_as_not_relevant(client: Client) -> None:
    found = triad(client, QUESTION, "Eels spawn.", [passage("a", "Eels spawn."), passage("b", "")])

    assert found.relevance == pytest.approx((0.9, 0.0))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("One thing. Another [1]. [2]", ["One thing.", "Another."]),
        ("Cá chình đẻ ở biển [1][2]. Cá hồi đẻ ở sông [ 1 , 2 ].", None),
        ("[1]", []),
        ("…", []),
        ("", []),
    ],
)
def test_statements_are_sentences_without_citations(
    answer: str, expected: list[str] | None
) -> None:
    if expected is None:
        expected = ["Cá chình đẻ ở biển.", "Cá hồi đẻ ở sông."]

    assert statements_of(answer) == expected


def test_means_are_over_the_answers_that_have_a_value(client: Client) -> None:
    good = triad(client, QUESTION, "European eels spawn in the Sargasso Sea.", PASSAGES[:1])
    bad = triad(client, QUESTION, "The moon.", PASSAGES[1:])
    refused = triad(client, QUESTION, "No.", [], refused=True)

    mean = means([good, bad, refused])

    assert (mean.num_answers, mean.num_refused) == (3, 1)
    assert mean.context_relevance == pytest.approx((0.9 + 0.1) / 2)
    assert mean.groundedness == pytest.approx(0.5)
    assert mean.answer_relevance == pytest.approx((0.9 + 0.1) / 2)
    assert means([]).groundedness is None


def test_the_page_shows_all_and_needs_nothing_else(client: Client) -> None:
    evil = passage("e<b>", '<script src="http://x.example/a.js"></script>\u202e& eels', title="<i>")
    answer = "<img src=x onerror=alert(1)> eels. Other words entirely here."

    written = page([triad(client, "<b>Who?</b>", answer, [evil]), triad(client, "?", "No", [])])

    assert written.startswith("<!doctype html>")
    assert "default-src 'none'" in written
    for tag in ("<script", "<img", "<b>", "<i>", "<link", "url(", "\u202e"):
        assert tag not in written
    assert "&lt;script src=&quot;http://x.example/a.js&quot;&gt;" in written
    assert "no passage supports this" in written
    assert "2 answers, 0 of them refusals; judged without a language model" in written
    assert written.count("<tr>") == 4  # the names, two answers, their mean
