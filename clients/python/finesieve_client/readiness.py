"""Decide, from what gRPC's health service says, when a server takes calls."""

import time
from dataclasses import dataclass

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from finesieve_client.errors import DeadlineExceeded, FinesieveError, error_of_call

WATCH_PATH = "/grpc.health.v1.Health/Watch"
PAUSE_S = 0.2  # before watching again, where a server that starts or stops ended the watch


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for one server."""

    target: str
    timeout_s: float
    end_s: float

    @classmethod
    def of(cls, target: str, timeout_s: float) -> "Patience":
        """Start to wait now."""
        return cls(target, timeout_s, time.monotonic() + timeout_s)

    def left_s(self) -> float:
        """Return what is left of it; raises DeadlineExceeded where nothing is."""
        left = self.end_s - time.monotonic()
        if left <= 0:
            raise self.exhausted()
        return left

    def exhausted(self) -> FinesieveError:
        """Return the error of a wait that was in vain."""
        return DeadlineExceeded(
            f"the server at {self.target} was not ready within {self.timeout_s:g} s",
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
        )

    def check(self, error: grpc.RpcError) -> None:
        """Return where watching again may help; raises what it is otherwise."""
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise self.exhausted() from error
        raise error_of_call(error) from error


def is_ready(answer: HealthCheckResponse) -> bool:
    """Tell whether the server takes calls."""
    return bool(answer.status == HealthCheckResponse.SERVING)
