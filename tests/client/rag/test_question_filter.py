import json
from typing import Any

import pytest

from finesieve_client.filters import Condition, field
from finesieve_client.rag.json_answer import UnreadableAnswer
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.question_filter import FilterField, to_filter
from tests.client.rag.llm_server import LlmServer

FIELDS = {
    "year": FilterField("number", "when it was published"),
    "lang": FilterField("string", "of the text", values=["en", "vi"]),
    "author.name": FilterField("string"),
    "draft": FilterField("boolean"),
}


def filtered(*conditions: object) -> Condition | None:
    answer = json.dumps({"conditions": conditions})
    with LlmServer(answer) as server:
        return to_filter("What of 2020?", FIELDS, Llm("m", base_url=server.base_url))


def condition(path: str, comparison: str, *values: Any) -> dict[str, Any]:
    return {"field": path, "comparison": comparison, "values": values}


def test_a_question_without_conditions_has_no_filter() -> None:
    assert filtered() is None


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (condition("year", "=", 2020), field("year") == 2020),
        (condition("year", ">=", "2020"), field("year") >= 2020),
        (condition("year", "<", 2020.5), field("year") < 2020.5),
        (condition("lang", "in", "en", "vi"), field("lang").any_of("en", "vi")),
        (condition("lang", "not in", "vi"), ~field("lang").any_of("vi")),
        (condition("author.name", "!=", "Ann"), field("author.name") != "Ann"),
        (condition("author.name", "=", 1984), field("author.name") == "1984"),
        (condition("author.name", ">", "A"), field("author.name") > "A"),
        (condition("draft", "=", False), field("draft") == False),  # noqa: E712
        (condition("draft", "=", "true"), field("draft") == True),  # noqa: E712
    ],
)
def test_a_comparison_becomes_the_condition_that_one_would_write(
    stated: dict[str, Any], expected: Condition
) -> None:
    found = filtered(stated)

    assert found is not None
    assert found.message == expected.message


def test_all_conditions_hold() -> None:
    found = filtered(condition("year", ">", 2019), condition("lang", "=", "vi"))

    assert found is not None
    assert found.message == ((field("year") > 2019) & (field("lang") == "vi")).message


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        (condition("publisher", "=", "X"), "names the field 'publisher'; there are: year, lang"),
        (condition("lang", "=", "fr"), "gives lang the value 'fr'; allowed: 'en', 'vi'"),
        (condition("year", "=", "last"), "gives year the value 'last'; allowed: a number"),
        (condition("year", "=", "nan"), "allowed: a number"),
        (condition("year", "=", 10**400), "allowed: a number"),
        (condition("year", "=", True), "allowed: a number"),
        (condition("year", "=", None), "allowed: a number"),
        (condition("draft", "=", 1), "allowed: a boolean"),
        (condition("draft", ">", True), "compares draft by '>'"),
        (condition("year", ">", 1, 2), "compares year by '>'"),
        (condition("year", "about", 1), "compares year by 'about'"),
        (condition("year", "="), "gives year 0 values"),
        (condition("year", "in", *range(65)), "gives year 65 values"),
        ({"field": "year"}, "which is no condition"),
        ("year = 2020", "which is no condition"),
        ({"field": ["year"], "comparison": "=", "values": [1]}, "which is no condition"),
    ],
)
def test_what_the_fields_do_not_have_is_an_error_and_no_filter(
    stated: object, problem: str
) -> None:
    with pytest.raises(UnreadableAnswer, match=problem):
        filtered(condition("lang", "=", "en"), stated)


def test_conditions_are_bounded() -> None:
    with pytest.raises(UnreadableAnswer, match="17 conditions; 16 are allowed"):
        filtered(*[condition("year", "=", 1)] * 17)


def test_the_model_is_told_the_fields_and_their_values() -> None:
    with LlmServer('{"conditions": []}') as server:
        to_filter("What of 2020?", FIELDS, Llm("m", base_url=server.base_url))

    (request,) = server.requests
    lines = request["messages"][-1]["content"].splitlines()
    assert json.loads(lines[1]) == {
        "field": "lang",
        "type": "string",
        "description": "of the text",
        "values": ["en", "vi"],
    }
    assert lines[-1] == "Question: What of 2020?"


def test_there_is_something_to_filter_by() -> None:
    with LlmServer("") as server, pytest.raises(ValueError, match="no fields"):
        to_filter("What?", {}, Llm("m", base_url=server.base_url))
