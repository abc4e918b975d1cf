"""Keep the status that a server ended a stream with.

Where the client was still writing, grpc.aio sets a status of its own, INTERNAL, beside the
server's: mostly after it (grpc/grpc#36066), now and then a moment before.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

from finesieve_client.errors import FinesieveError, error_of_call, error_of_status

Value = TypeVar("Value")

_OF_GRPC_AIO = (grpc.StatusCode.INTERNAL, "Internal error from Core")


class StreamEnd:
    """The first status of one stream; to be given to its call's `add_done_callback`."""

    def __init__(self) -> None:
        self._first: FinesieveError | None = None

    def __call__(self, call: Any) -> None:
        """Note the first status. The call has it when it calls back, so nothing here waits."""
        if self._first is None:
            self._first = error_of_status(
                _at_once(call.code()),
                _at_once(call.details()),
                _at_once(call.trailing_metadata()),
            )

    def error(self, raised: grpc.RpcError) -> FinesieveError | None:
        """Return what the server ended the stream with, None where it ended well.

        That is the first status, or where that is grpc.aio's own, the last.
        """
        error = self._first
        if error is None or (error.code, error.message) == _OF_GRPC_AIO:
            error = error_of_call(raised)
        return None if error.code is grpc.StatusCode.OK else error


def _at_once(ready: Coroutine[Any, Any, Value]) -> Value:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        ready.send(None)
    except StopIteration as end:
        value: Value = end.value
        return value
    raise AssertionError("a call that is done has its status")
