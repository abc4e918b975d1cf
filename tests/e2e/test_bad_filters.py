"""Filters that are none, too large, or SQL: what they get."""

import secrets
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from demo.server_process import ServerProcess
from finesieve.v1 import (
    passages_pb2,
    retrieval_pb2,
    search_pb2,
)
from tests.e2e.conftest import logged_call
from tests.e2e.requests import (
    COLLECTION,
    DELETE,
    LIST,
    RETRIEVE,
    SEARCH,
    TEXTS,
    assert_invalid,
    passage_count,
)
from tests.server.rpc.wire import Wire

pytestmark = pytest.mark.usefixtures("alive")


def filter_of(written: dict[str, Any]) -> passages_pb2.Filter:
    return json_format.ParseDict(written, passages_pb2.Filter())


def deep(depth: int) -> bytes:
    """Return the bytes of a filter so deep that no library would write it."""
    content = passages_pb2.Filter(document_id="d").SerializeToString()
    for _ in range(depth - 1):
        for tag in (0x0A, 0x0A):  # filters within all_of
            content = bytes([tag]) + _length(len(content)) + content
    return content


def _length(size: int) -> bytes:
    digits = bytearray()
    while size > 0x7F:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*digits, size])


BAD_FILTERS = {
    "no condition": filter_of({}),
    "no condition inside": filter_of({"none_of": {"filters": [{}]}}),
    "bounds of mixed types": filter_of({"range": {"field": "at", "gt": 1, "lt": "2"}}),
    "10,000 clauses": filter_of(
        {"any_of": {"filters": [{"match": {"field": "at", "any_of": [1]}}] * 10_000}}
    ),
    "40 deep": passages_pb2.Filter.FromString(deep(40)),
}


@pytest.mark.parametrize("filter_", BAD_FILTERS.values(), ids=BAD_FILTERS)
async def test_a_filter_that_is_none_is_refused_and_deletes_nothing(
    filled: None, server: ServerProcess, wire: Wire, filter_: passages_pb2.Filter
) -> None:
    requests: list[tuple[str, Message]] = [
        (RETRIEVE, retrieval_pb2.RetrieveRequest(collection=COLLECTION, text="q", filter=filter_)),
        (SEARCH, search_pb2.SearchRequest(collection=COLLECTION, query="q", filter=filter_)),
        (LIST, retrieval_pb2.ListPassagesRequest(collection=COLLECTION, filter=filter_)),
        (DELETE, retrieval_pb2.DeletePassagesRequest(collection=COLLECTION, filter=filter_)),
    ]

    for path, request in requests:
        request_id = secrets.token_hex(8)
        outcome = await wire.call(path, request, metadata=(("x-request-id", request_id),))
        assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT, outcome
        assert outcome.fields[0].startswith("filter")
        assert logged_call(server, request_id)["total_us"] < 150_000
    assert await passage_count(wire) == len(TEXTS)


async def test_a_filter_1000_deep_is_no_message(filled: None, wire: Wire) -> None:
    content = retrieval_pb2.DeletePassagesRequest(collection=COLLECTION).SerializeToString()
    filter_ = deep(1_000)

    outcome = await wire.call(DELETE, content + b"\x1a" + _length(len(filter_)) + filter_)

    assert_invalid(outcome, "MALFORMED_REQUEST")


SQL = "x' OR 1=1; DROP TABLE passages; --"


@pytest.mark.parametrize(
    "filter_",
    [
        filter_of({"match": {"field": SQL, "any_of": ["a"]}}),
        filter_of({"match": {"field": "at", "any_of": [SQL, '"', "%", "\x00"]}}),
        filter_of({"range": {"field": SQL, "gt": SQL}}),
        filter_of({"document_id": SQL}),
        filter_of({"exists": {"field": SQL}}),
        filter_of({"exists": {"field": "at\x00"}}),
    ],
    ids=["field", "values", "range", "document", "exists", "NUL"],
)
async def test_sql_in_a_filter_matches_nothing_and_changes_nothing(
    filled: None, wire: Wire, filter_: passages_pb2.Filter
) -> None:
    retrieve = retrieval_pb2.RetrieveRequest(collection=COLLECTION, text="q", filter=filter_)
    delete = retrieval_pb2.DeletePassagesRequest(collection=COLLECTION, filter=filter_)

    found = await wire.ask(RETRIEVE, retrieve, retrieval_pb2.RetrieveResponse)
    deleted = await wire.ask(DELETE, delete, retrieval_pb2.DeletePassagesResponse)

    assert not found.hits
    assert deleted.deleted == 0
    assert await passage_count(wire) == len(TEXTS)
