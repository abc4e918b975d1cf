"""What a cross-encoder's query may be written into, and what it may not."""

import re

import pytest

from finesieve_server.runtime.query_template import QueryTemplate


def test_without_a_template_a_query_stands_alone() -> None:
    assert QueryTemplate().around() == ("", "")
    assert not QueryTemplate().takes_instruction


def test_an_instruction_stands_where_the_template_says_and_the_default_where_none_is_given() -> (
    None
):
    template = QueryTemplate("<Instruct>: {instruction}\n<Query>: {query}", "Find answers.")

    assert template.takes_instruction
    assert template.around() == ("<Instruct>: Find answers.\n<Query>: ", "")
    assert template.around("Find code.") == ("<Instruct>: Find code.\n<Query>: ", "")
    assert QueryTemplate("Q: {query} I: {instruction}.").around("x") == ("Q: ", " I: x.")


def test_braces_in_an_instruction_are_plain_text() -> None:
    template = QueryTemplate("{instruction}: {query}")

    assert template.around("rank {query} {0}") == ("rank {query} {0}: ", "")


@pytest.mark.parametrize(
    ("template", "default", "problem"),
    [
        ("query:", "", "does not hold {query} once"),
        ("{query} {query}", "", "does not hold {query} once"),
        ("{instruction}{instruction}{query}", "", "more than once"),
        ("{query}", "rank", "no {instruction}"),
        ("", "rank", "no {instruction}"),
    ],
)
def test_a_template_that_is_none_is_refused(template: str, default: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        QueryTemplate(template, default)
