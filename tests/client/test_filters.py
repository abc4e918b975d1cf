from datetime import date

import pytest

from finesieve.v1.passages_pb2 import FieldExists, FieldMatch, FieldRange, Filter, Filters
from finesieve_client import document, field


def test_a_comparison_is_the_contracts_message() -> None:
    assert (field("year") >= 2020).message == Filter(
        range=FieldRange(field="year", gte={"number_value": 2020})
    )
    assert (field("year") < "2020-01-01").message == Filter(
        range=FieldRange(field="year", lt={"string_value": "2020-01-01"})
    )
    assert (field("lang") == "en").message == Filter(
        match=FieldMatch(field="lang", any_of=[{"string_value": "en"}])
    )
    assert field("author.name").exists().message == Filter(exists=FieldExists(field="author.name"))
    assert document("report").message == Filter(document_id="report")


def test_any_of_keeps_the_kind_of_each_value() -> None:
    condition = field("x").any_of("1", 1, True, None)

    kinds = [value.WhichOneof("kind") for value in condition.message.match.any_of]

    assert kinds == ["string_value", "number_value", "bool_value", "null_value"]


@pytest.mark.parametrize("kind", ["all_of", "any_of"])
def test_a_chain_of_one_operator_stays_one_level_deep(kind: str) -> None:
    conditions = [field("n") == number for number in range(50)]
    chain = conditions[0]

    for condition in conditions[1:]:
        chain = chain & condition if kind == "all_of" else chain | condition

    assert chain.message.WhichOneof("condition") == kind
    assert list(getattr(chain.message, kind).filters) == [each.message for each in conditions]


def test_operators_nest_as_they_are_written() -> None:
    recent = field("year") >= 2020
    english = field("lang") == "en"

    condition = recent & (english | ~document("draft"))

    assert condition.message == Filter(
        all_of=Filters(
            filters=[
                recent.message,
                Filter(
                    any_of=Filters(
                        filters=[
                            english.message,
                            Filter(none_of=Filters(filters=[Filter(document_id="draft")])),
                        ]
                    )
                ),
            ]
        )
    )


def test_unequal_is_the_opposite_of_equal() -> None:
    assert (field("lang") != "en").message == (~(field("lang") == "en")).message


@pytest.mark.parametrize(
    "expression",
    [
        lambda: (field("a") == 1) and (field("b") == 2),
        lambda: not field("a").exists(),
        lambda: 1 < field("a") < 3,
    ],
)
def test_python_words_that_would_lose_a_condition_are_refused(expression: object) -> None:
    assert callable(expression)

    with pytest.raises(TypeError, match="combine conditions with &"):
        expression()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (date(2020, 1, 1), "year is a date; .* RFC 3339"),
        (2**60, "write it as a string"),
        (float("nan"), "a number is finite"),
    ],
)
def test_a_value_that_json_cannot_hold_is_refused_by_name(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        field("year").any_of(value)  # type: ignore[arg-type]
