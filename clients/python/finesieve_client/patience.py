"""Make calls again for as long as a server has no room or is away, but not for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc

from finesieve_client.contract import Response
from finesieve_client.errors import FinesieveError, ResourceExhausted, Unavailable

PATIENCE_S = 60.0  # with a server that has no room or is away, since it last answered
PAUSE_S = 1.0  # where the server names no delay of its own


class Patience:
    """What several calls have of it together."""

    def __init__(self, stalled: Callable[[FinesieveError], None]) -> None:
        """`stalled` is told once what a server says that has to be waited for."""
        self._stalled = stalled
        self._told = False
        self._last_answer_s = time.monotonic()

    async def call(self, call: Callable[[], Awaitable[Response]]) -> Response:
        """Make a call until it is answered; raises FinesieveError where waiting is useless.

        The channel has tried four times already when an error comes here.
        """
        started_s = time.monotonic()
        while True:
            try:
                answer = await call()
            except FinesieveError as error:
                waited_s = time.monotonic() - max(started_s, self._last_answer_s)
                if not _is_passing(error) or waited_s > PATIENCE_S:
                    raise
                if not self._told:
                    self._told = True
                    self._stalled(error)
                await asyncio.sleep(error.retry_delay_s or PAUSE_S)
            else:
                self._last_answer_s = time.monotonic()
                self._told = False
                return answer


def _is_passing(error: FinesieveError) -> bool:
    """Tell whether the same call may be answered later."""
    if isinstance(error, ResourceExhausted):
        return error.retry_delay_s is not None
    # We cancel nothing, so CANCELLED is a server that stopped in the middle of the call.
    return isinstance(error, Unavailable) or error.code is grpc.StatusCode.CANCELLED
