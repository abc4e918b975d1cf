"""Bytes that are no message, too many of them, and enum values of no contract: what they get."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from demo.server_process import ServerProcess
from finesieve.v1 import (
    rerank_pb2,
    retrieval_pb2,
)
from tests.e2e.requests import (
    COLLECTION,
    METHODS,
    MIB,
    RERANK,
    assert_invalid,
    path_of,
)
from tests.server.rpc.wire import Outcome, Wire, end_of

pytestmark = pytest.mark.usefixtures("alive")


async def outcome_of(wire: Wire, method: MethodDescriptor, content: bytes) -> Outcome:
    """Send one message to a method of either kind; return how the call ends."""
    if not method.client_streaming:
        return await wire.call(path_of(method), content)
    stream = wire.stream(path_of(method))
    await stream.write(content)
    await stream.done_writing()
    return await end_of(stream)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize(
    "content",
    [b"\xff" * 64, b"\x0a\x7fcut", b"\x7b" * 150 + b"\x7c" * 150],
    ids=["no protobuf", "truncated", "150 deep"],
)
async def test_bytes_that_are_no_message_are_malformed(
    wire: Wire, method: MethodDescriptor, content: bytes
) -> None:
    assert_invalid(await outcome_of(wire, method, content), "MALFORMED_REQUEST")


STRINGS = [
    pytest.param(method, field.number, id=f"{method.name}-{field.name}")
    for method in METHODS
    for field in method.input_type.fields
    if field.type == FieldDescriptor.TYPE_STRING
]


@pytest.mark.parametrize(("method", "number"), STRINGS)
async def test_a_string_that_is_not_utf8_is_malformed(
    wire: Wire, method: MethodDescriptor, number: int
) -> None:
    content = bytes([number << 3 | 2, 2, 0xC3, 0x28])

    assert_invalid(await outcome_of(wire, method, content), "MALFORMED_REQUEST")


def start_new_peak(server: ServerProcess) -> int:
    """Return the resident memory, which from now on counts as its peak."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    return resident_bytes(server, "VmHWM")


def resident_bytes(server: ServerProcess, which: str) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith(which)]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "gzip"]
)
async def test_a_message_over_the_limit_is_refused_without_holding_it(
    server: ServerProcess, wire: Wire, compression: grpc.Compression
) -> None:
    content = rerank_pb2.RerankRequest(query="x" * (200 * MIB)).SerializeToString()
    before = start_new_peak(server)

    outcome = await wire.call(RERANK, content, compression=compression)

    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert resident_bytes(server, "VmHWM") - before < 100 * MIB


def enum_paths(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[list[str]]:
    """Give the path of every enum field below a message, lists' first elements included."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_ENUM:
            yield [field.name]
        elif field.message_type and field.message_type.full_name not in seen:
            inside = seen | {message.full_name, field.message_type.full_name}
            if not field.message_type.full_name.startswith("google."):
                for path in enum_paths(field.message_type, inside):
                    yield [field.name, *path]


def with_unknown_enum(method: MethodDescriptor, path: Sequence[str]) -> Message:
    request = GetMessageClass(method.input_type)()
    at: Any = request
    for name in path[:-1]:
        inner = getattr(at, name)
        at = inner.add() if hasattr(inner, "add") else inner
    setattr(at, path[-1], 99)
    return request


UNKNOWN_ENUMS = [
    pytest.param(method, path, id=f"{method.name}-{'.'.join(path)}")
    for method in METHODS
    if not method.client_streaming
    for path in enum_paths(method.input_type)
]


@pytest.mark.parametrize(("method", "path"), UNKNOWN_ENUMS)
async def test_an_unknown_enum_value_is_refused_by_its_field(
    filled: None, wire: Wire, method: MethodDescriptor, path: list[str]
) -> None:
    request: Any = with_unknown_enum(method, path)
    fill_in(request)

    outcome = await wire.call(path_of(method), request)

    assert_invalid(outcome, "INVALID_FIELD", ".".join(path))


def fill_in(request: Any) -> None:
    """Give a request what else it needs to be good."""
    names = {field.name for field in request.DESCRIPTOR.fields}
    if "collection" in names:
        request.collection = COLLECTION
    if "name" in names:
        request.name = "never-made"
    if "ids" in names:
        request.ids.append("p1")
    if "texts" in names:
        request.texts.append("a text")
    if "documents" in names:
        request.documents.add(text="a text")
    if isinstance(request, retrieval_pb2.RetrieveRequest):
        request.text = "a query"
    elif isinstance(request, retrieval_pb2.BatchRetrieveRequest):
        request.queries.add(text="a query")
    elif "query" in names:
        request.query = "a query"


def test_the_list_of_enums_is_not_empty() -> None:
    assert len(UNKNOWN_ENUMS) >= 10
