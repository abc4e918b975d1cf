"""Wait no longer than allowed: for so many seconds, or until the server drains."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from finesieve_server.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")


async def within(seconds: float, work: Callable[[], Awaitable[T]], problem: str) -> T:
    """Return the work's result. Raises DeadlineExceeded where it takes longer."""
    in_time = asyncio.timeout(seconds)
    try:
        async with in_time:
            return await work()
    except TimeoutError as error:
        if in_time.expired():
            raise DeadlineExceeded(f"{problem} within {seconds:g} s") from error
        raise


async def unless_cut_short(work: Callable[[], Awaitable[T]], cuts: set[asyncio.Timeout]) -> T:
    """Return the work's result. Raises Unavailable when the cut that it adds comes first."""
    cut = asyncio.timeout(None)
    cuts.add(cut)
    try:
        async with cut:
            return await work()
    except TimeoutError as error:
        if cut.expired():
            raise Unavailable("the server is draining") from error
        raise
    finally:
        cuts.discard(cut)


def cut_short(cuts: set[asyncio.Timeout]) -> None:
    for cut in cuts:
        cut.reschedule(asyncio.get_running_loop().time())
