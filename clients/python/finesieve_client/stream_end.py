"""Keep the status that a server ended a stream with.

grpc.aio overwrites it with INTERNAL where the client was still writing (grpc/grpc#36066): the
first status that a call has is the server's.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

from finesieve_client.errors import FinesieveError, error_of_status

Value = TypeVar("Value")


class StreamEnd:
    """The error of one stream; to be given to its call's `add_done_callback`."""

    def __init__(self) -> None:
        self.error = FinesieveError("the stream ended without a status")
        self._noted = False

    def __call__(self, call: Any) -> None:
        """Note the first status. The call has it when it calls back, so nothing here waits."""
        if not self._noted:
            self._noted = True
            self.error = error_of_status(
                _at_once(call.code()),
                _at_once(call.details()),
                _at_once(call.trailing_metadata()),
            )


def _at_once(ready: Coroutine[Any, Any, Value]) -> Value:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        ready.send(None)
    except StopIteration as end:
        value: Value = end.value
        return value
    raise AssertionError("a call that is done has its status")
