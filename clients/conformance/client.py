"""The client of one language as a test sees it: it makes a call, and tells what came of it."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clients.conformance.conformance_pb2 import (
    Call,
    Connection,
    Error,
    Order,
    Outcome,
    Prompt,
    WaitReady,
)
from clients.conformance.drivers import ORDER_LIMIT_S, Driver
from finesieve.v1.search_pb2 import SearchResponse
from tests.client.scripted_server import METHODS


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call; `responses` are the last 16 of `response_count`."""

    responses: list[Any]
    response_count: int
    refusal: str
    _error: Error | None

    @property
    def answer(self) -> Any:
        """The one response of a call that ended well."""
        self.assert_ok()
        assert self.response_count == len(self.responses) == 1, self
        return self.responses[0]

    @property
    def error(self) -> Error:
        """The error of a call that was made and failed."""
        assert not self.refusal, f"refused: {self.refusal}"
        assert self._error is not None, f"ended well: {self.responses}"
        return self._error

    def assert_ok(self) -> None:
        """Fail where the call did not end well."""
        assert not self.refusal, f"refused: {self.refusal}"
        assert self._error is None, f"failed: {self._error}"


@dataclass(frozen=True, slots=True)
class Client:
    """A client with its connection, made inside a driver."""

    driver: Driver
    connection: Connection

    def call(
        self, method: str, *requests: Message, limit_s: float = ORDER_LIMIT_S, **how: int
    ) -> Reply:
        """Make the call of a method, such as "RerankService/Rerank".

        `how` holds what else conformance.proto's Call says, such as `cancel_after_ms`.
        """
        path = f"finesieve.v1.{method}"
        encoded = [request.SerializeToString() for request in requests]
        order = Order(
            name=f"{method} {how or ''}",
            connection=self.connection,
            call=Call(method=path, requests=encoded, **how),
        )
        outcome = self.driver.carry_out(order, limit_s)
        response_type = GetMessageClass(descriptor(method).output_type)
        return _reply(outcome, [response_type.FromString(each) for each in outcome.responses])

    def wait_ready(self, timeout_ms: int) -> Reply:
        """Wait until the server takes calls."""
        waiting = WaitReady(timeout_ms=timeout_ms)
        order = Order(name="wait_ready", connection=self.connection, wait_ready=waiting)
        return _reply(self.driver.carry_out(order), [])

    def prompt(self, question: str, found: SearchResponse, answer: str = "") -> Outcome:
        """Write a prompt, and say which hits an answer to it cites. Calls nobody."""
        content = found.SerializeToString()
        prompt = Prompt(question=question, search_response=content, answer=answer)
        outcome = self.driver.carry_out(Order(name="prompt", prompt=prompt))
        assert not outcome.refusal, outcome.refusal
        assert not outcome.HasField("error"), outcome.error
        return outcome


def descriptor(method: str) -> MethodDescriptor:
    """Return what the contract says of a method, such as "RerankService/Rerank"."""
    return METHODS[f"/finesieve.v1.{method}"]


def _reply(outcome: Outcome, responses: list[Any]) -> Reply:
    error = outcome.error if outcome.HasField("error") else None
    return Reply(responses, outcome.response_count, outcome.refusal, error)
