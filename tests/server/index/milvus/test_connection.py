"""What an error of Milvus tells our callers, and what of the address is told at all."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from milvus_lite import MilvusLite
from pymilvus.exceptions import MilvusException

from finesieve_server.errors import (
    CollectionNotFound,
    FailedPrecondition,
    FinesieveError,
    InvalidArgument,
    Overloaded,
    StorageFull,
    Unavailable,
)
from finesieve_server.index.milvus.connection import Address, Caller, Connection


class FailedCall(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "what gRPC says"


class FailingClient:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def query(self, *_: Any, **__: Any) -> None:
        raise self._error


def caller(error: Exception) -> Caller:
    return Caller(FailingClient(error), Address("http://milvus"), "docs")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MilvusException(code=100), CollectionNotFound),
        (MilvusException(code=8), Overloaded),
        (MilvusException(code=9, message="memory quota exceeded"), StorageFull),
        (MilvusException(code=1100, message="too long"), InvalidArgument),
        (MilvusException(code=101, message="not loaded"), Unavailable),
        (MilvusException(code=1, message="service not ready", retriable=True), Unavailable),
        (MilvusException(code=1400), FailedPrecondition),
        (FailedCall(grpc.StatusCode.UNAVAILABLE), Unavailable),
        (FailedCall(grpc.StatusCode.DEADLINE_EXCEEDED), Unavailable),
        (FailedCall(grpc.StatusCode.RESOURCE_EXHAUSTED), InvalidArgument),
        (FailedCall(grpc.StatusCode.UNAUTHENTICATED), FailedPrecondition),
    ],
)
def test_an_error_of_milvus_becomes_one_of_ours(
    error: Exception, expected: type[FinesieveError]
) -> None:
    with pytest.raises(expected) as raised:
        caller(error)("query")

    assert type(raised.value) is expected
    if expected in (Unavailable, Overloaded):
        assert raised.value.retry_after_s == 1.0


@pytest.mark.parametrize("code", [1, 65_535])
def test_an_error_that_nobody_foresaw_stays_what_it_is(code: int) -> None:
    error = MilvusException(code=code, message="a bug")

    with pytest.raises(MilvusException) as raised:
        caller(error)("query")

    assert raised.value is error


def test_an_address_is_told_without_its_credentials() -> None:
    assert str(Address("https://root:secret@milvus:443", token="secret")) == "https://milvus:443"
    assert str(Address("http://milvus")) == "http://milvus:19530"


def test_milvus_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        Connection(Address("http://127.0.0.1:1", timeout_s=5))


def test_a_file_that_another_has_open_is_said_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "milvus.db"
    first = MilvusLite(str(folder))

    with pytest.raises(Unavailable, match="another process may have it open"):
        Connection(Address(str(folder)))

    first.close()
    Connection(Address(str(folder))).close()
