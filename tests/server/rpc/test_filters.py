import math
import time
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from finesieve.v1 import passages_pb2
from finesieve_server.errors import EmptyField, InvalidArgument
from finesieve_server.index.filters import (
    AllOf,
    AnyOf,
    Exists,
    InDocument,
    Match,
    NoneOf,
    Range,
)
from finesieve_server.rpc.filters import read_filter
from finesieve_server.search.limits import Limits

LIMITS = Limits()


def parsed(written: dict[str, Any]) -> passages_pb2.Filter:
    return json_format.ParseDict(written, passages_pb2.Filter())


def test_every_condition_is_read() -> None:
    message = parsed(
        {
            "all_of": {
                "filters": [
                    {"any_of": {"filters": [{"exists": {"field": "a.b"}}]}},
                    {"none_of": {"filters": [{"document_id": "d"}]}},
                    {"match": {"field": "kind", "any_of": ["x", 1, True, None]}},
                    {"range": {"field": "year", "gte": 1990, "lt": 2000}},
                    {"range": {"field": "date", "gt": "2020-01-01", "lte": "2021-01-01"}},
                ]
            }
        }
    )

    assert read_filter(message, LIMITS) == AllOf(
        (
            AnyOf((Exists("a.b"),)),
            NoneOf((InDocument("d"),)),
            Match("kind", ("x", 1.0, True, None)),
            Range("year", gte=1990.0, lt=2000.0),
            Range("date", gt="2020-01-01", lte="2021-01-01"),
        )
    )


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({}, "filter"),
        ({"all_of": {"filters": [{}]}}, "filter.all_of.filters[0]"),
        ({"all_of": {}}, "filter.all_of.filters"),
        ({"none_of": {}}, "filter.none_of.filters"),
        ({"match": {"field": "a"}}, "filter.match.any_of"),
        ({"match": {"any_of": ["a"]}}, "filter.match.field"),
        ({"match": {"field": "a", "any_of": [["b"]]}}, "filter.match.any_of[0]"),
        ({"match": {"field": "a", "any_of": [{"b": 1}]}}, "filter.match.any_of[0]"),
        ({"range": {"field": "a"}}, "filter.range"),
        ({"range": {"gt": 1}}, "filter.range.field"),
        ({"range": {"field": "a", "gt": 1, "lt": "2"}}, "filter.range"),
        ({"range": {"field": "a", "gt": True}}, "filter.range.gt"),
        ({"range": {"field": "a", "gt": None}}, "filter.range.gt"),
        ({"document_id": ""}, "filter.document_id"),
        ({"exists": {}}, "filter.exists.field"),
    ],
)
def test_what_is_no_condition_is_refused_by_its_path(written: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_filter(parsed(written), LIMITS)

    assert refusal.value.field == field


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_must_be_finite(number: float) -> None:
    message = passages_pb2.Filter(
        match=passages_pb2.FieldMatch(field="a", any_of=[struct_pb2.Value(number_value=number)])
    )

    with pytest.raises(InvalidArgument, match="finite"):
        read_filter(message, LIMITS)


def test_a_value_of_no_kind_is_refused() -> None:
    message = passages_pb2.Filter(
        match=passages_pb2.FieldMatch(field="a", any_of=[struct_pb2.Value()])
    )

    with pytest.raises(InvalidArgument, match="has no value"):
        read_filter(message, LIMITS)


def nested(depth: int) -> passages_pb2.Filter:
    message = passages_pb2.Filter(document_id="d")
    for _ in range(depth - 1):
        outer = passages_pb2.Filter()
        outer.all_of.filters.append(message)
        message = outer
    return message


def clauses(count: int) -> passages_pb2.Filter:
    message = passages_pb2.Filter()
    message.any_of.filters.extend([passages_pb2.Filter(document_id="d")] * (count - 1))
    return message


def test_a_filter_as_large_as_allowed_is_read() -> None:
    read_filter(nested(LIMITS.max_filter_depth), LIMITS)
    read_filter(clauses(LIMITS.max_filter_clauses), LIMITS)


@pytest.mark.parametrize(
    "message",
    [
        nested(LIMITS.max_filter_depth + 1),
        clauses(LIMITS.max_filter_clauses + 1),
        clauses(10_000),
        passages_pb2.Filter(
            match=passages_pb2.FieldMatch(
                field="a", any_of=[struct_pb2.Value(string_value="b")] * 10_001
            )
        ),
    ],
    ids=["deep", "wide", "10,000 clauses", "10,001 values"],
)
def test_a_larger_one_is_refused_before_it_costs_anything(message: passages_pb2.Filter) -> None:
    started = time.process_time()

    with pytest.raises(InvalidArgument) as refusal:
        read_filter(message, LIMITS)

    assert refusal.value.field == "filter"
    assert not isinstance(refusal.value, EmptyField)
    assert time.process_time() - started < 0.1  # some 1 ms; reading 10,000 takes longer
