"""Answer a stream's requests a few at a time: what is not being answered is not read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def answered(
    requests: AsyncIterator[Request],
    answer: Callable[[Request], Coroutine[Any, Any, Answer]],
    *,
    width: int,
    in_order: bool,
) -> AsyncGenerator[Answer, None]:
    """Give one answer a request, at most `width` of them being made at a time.

    Not reading on is what makes the sender wait: gRPC's flow control does the rest. Where the
    requests end with an error, those before it are answered first.
    """
    making: list[asyncio.Task[Answer]] = []
    reading: asyncio.Task[Request | None] | None = None
    ended: BaseException | None = None
    more = True
    try:
        while more or making:
            if more and reading is None and len(making) < width:
                reading = asyncio.create_task(_next(requests))
            ready = making[:1] if in_order else making
            await asyncio.wait(
                [*ready, *([reading] if reading else [])], return_when=asyncio.FIRST_COMPLETED
            )
            if reading is not None and reading.done():
                ended = reading.exception()
                request = None if ended else reading.result()
                reading = None
                if request is None:
                    more = False
                else:
                    making.append(asyncio.create_task(answer(request)))
            for made in [task for task in ready if task.done()]:
                making.remove(made)
                yield made.result()
        if ended is not None:
            raise ended
    finally:
        left = [*making, *([reading] if reading else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _next(requests: AsyncIterator[Request]) -> Request | None:
    return await anext(requests, None)
