"""What is tried again, how often, and when: as the server asks for, or as the policy says."""

import time
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from google.rpc.code_pb2 import CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE

from clients.conformance.client import Reply, descriptor
from clients.conformance.conftest import Connect, Serve
from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.retrieval_pb2 import UpsertPassagesRequest
from finesieve_client import contract
from tests.client.scripted_server import METHODS, refuse, retry_after

# Which methods may be tried again, the Python client's contract says for all languages.
REPEATABLE = [f"{method.service}/{method.name}" for method in contract.REPEATABLE]
CONTRACT = [path.removeprefix("/finesieve.v1.") for path in METHODS]
ONCE = [method for method in CONTRACT if method not in REPEATABLE]
RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
FINAL = [code for code in grpc.StatusCode if code not in (*RETRYABLE, grpc.StatusCode.OK)]
LIST_MODELS = "ModelService/ListModels"


class Failing:
    """Fails so many tries, then answers with an empty message; `tried_s` says when they came.

    `pushback` is the milliseconds in which the server asks to be tried again.
    """

    def __init__(
        self, times: int, pushback: str = "1", code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    ) -> None:
        self.tried_s: list[float] = []
        self._times = times
        self._code = code
        self._trailers = [("grpc-retry-pushback-ms", pushback)] if pushback else []

    def __call__(self, _: object, context: grpc.ServicerContext) -> Any:
        self.tried_s.append(time.monotonic())
        if len(self.tried_s) <= self._times:
            refuse(context, self._code, "not now", retry_after(0.5), metadata=self._trailers)
        return GetMessageClass(descriptor(LIST_MODELS).output_type)()

    @property
    def waits_s(self) -> list[float]:
        """Return how long the caller waited before each try but the first."""
        return [later - earlier for earlier, later in pairwise(self.tried_s)]


def call(
    connect: Connect, serve: Serve, failing: Failing, method: str = LIST_MODELS, **how: int
) -> Reply:
    request = GetMessageClass(descriptor(method).input_type)()
    with serve({method.split("/")[1]: failing}) as server:
        return connect(server.target).call(method, request, **how)


@pytest.mark.parametrize("method", REPEATABLE)
def test_a_repeatable_call_is_tried_until_it_is_answered(
    connect: Connect, serve: Serve, method: str
) -> None:
    failing = Failing(2)

    call(connect, serve, failing, method).assert_ok()

    assert len(failing.tried_s) == 3


def test_a_large_call_is_tried_again_too(connect: Connect, serve: Serve) -> None:
    failing = Failing(2, code=grpc.StatusCode.RESOURCE_EXHAUSTED)
    request = UpsertPassagesRequest(passages=[Passage(text="x" * 300_000)] * 10)
    with serve({"UpsertPassages": failing}) as server:
        connect(server.target).call("RetrievalService/UpsertPassages", request).assert_ok()

    assert len(failing.tried_s) == 3


@pytest.mark.parametrize("method", ONCE)
def test_any_other_call_is_made_once(connect: Connect, serve: Serve, method: str) -> None:
    failing = Failing(9)

    assert call(connect, serve, failing, method).error.code == UNAVAILABLE

    assert len(failing.tried_s) == 1


def test_four_tries_are_the_most_and_the_last_error_is_told(connect: Connect, serve: Serve) -> None:
    failing = Failing(9, code=grpc.StatusCode.RESOURCE_EXHAUSTED)

    error = call(connect, serve, failing).error

    assert (error.code, error.message) == (RESOURCE_EXHAUSTED, "not now")
    assert error.retry_delay_s == 0.5
    assert len(failing.tried_s) == 4


@pytest.mark.parametrize("code", FINAL, ids=lambda code: code.name)
def test_no_other_status_is_tried_again(
    connect: Connect, serve: Serve, code: grpc.StatusCode
) -> None:
    # A server that names a time asks to be tried again: grpc-java does so whatever the status.
    failing = Failing(9, pushback="", code=code)

    assert call(connect, serve, failing).error.code == code.value[0]

    assert len(failing.tried_s) == 1


def test_the_server_says_when_it_is_tried_again(connect: Connect, serve: Serve) -> None:
    failing = Failing(2, pushback="700")

    call(connect, serve, failing).assert_ok()

    # The policy's own waits are at most 0.24 s and 0.48 s.
    assert all(0.65 < wait < 5 for wait in failing.waits_s), failing.waits_s


@pytest.mark.parametrize("pushback", ["-1", "soon"])
def test_a_server_that_says_no_is_not_tried_again(
    connect: Connect, serve: Serve, pushback: str
) -> None:
    failing = Failing(9, pushback)

    assert call(connect, serve, failing).error.code == UNAVAILABLE

    assert len(failing.tried_s) == 1


def test_where_the_server_says_nothing_the_policy_says_when(connect: Connect, serve: Serve) -> None:
    failing = Failing(3, pushback="")

    call(connect, serve, failing).assert_ok()

    # By chance up to 0.24 s, 0.48 s and 0.96 s, however short; the rest is for a busy machine.
    assert len(failing.waits_s) == 3
    assert 0.05 < sum(failing.waits_s) < 5, failing.waits_s


def test_the_deadline_holds_over_all_tries(connect: Connect, serve: Serve) -> None:
    failing = Failing(9, pushback="20000")
    started = time.monotonic()

    error = call(connect, serve, failing, timeout_ms=3_000).error

    assert error.code in (DEADLINE_EXCEEDED, UNAVAILABLE)
    assert time.monotonic() - started < 15
    assert len(failing.tried_s) == 1


def test_a_caller_can_leave_between_tries(connect: Connect, serve: Serve) -> None:
    failing = Failing(9, pushback="20000")
    started = time.monotonic()

    error = call(connect, serve, failing, cancel_after_ms=3_000).error

    assert error.code == CANCELLED
    assert time.monotonic() - started < 15
    assert len(failing.tried_s) == 1
