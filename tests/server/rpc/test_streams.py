import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from finesieve_server.rpc.streams import answered


class Sender:
    """Sends when the test says so, and knows how far it was read."""

    def __init__(self, requests: Iterable[int] = ()) -> None:
        self.read = 0
        self._queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        for request in requests:
            self._queue.put_nowait(request)

    def send(self, request: int | Exception | None) -> None:
        """Send a request, an error, or the end (None)."""
        self._queue.put_nowait(request)

    async def requests(self) -> AsyncIterator[int]:
        while (request := await self._queue.get()) is not None:
            if isinstance(request, Exception):
                raise request
            self.read += 1
            yield request


class Desk:
    """Answers each request when the test says so."""

    def __init__(self) -> None:
        self.under_way: dict[int, asyncio.Future[None]] = {}
        self.cancelled: list[int] = []
        self._arrived = asyncio.Condition()

    async def answer(self, request: int) -> str:
        done = self.under_way[request] = asyncio.get_running_loop().create_future()
        async with self._arrived:
            self._arrived.notify_all()
        try:
            await done
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        return f"answer {request}"

    async def has(self, *requests: int) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: set(requests) <= set(self.under_way))

    def finish(self, request: int) -> None:
        self.under_way[request].set_result(None)


async def test_no_more_is_read_than_is_being_answered() -> None:
    sender, desk = Sender(range(100)), Desk()
    answers = answered(sender.requests(), desk.answer, width=3, in_order=False)

    first = asyncio.create_task(anext(answers))
    await desk.has(0, 1, 2)
    read_before = sender.read
    desk.finish(1)
    await first
    second = asyncio.create_task(anext(answers))
    await desk.has(3)

    assert read_before == 3
    assert sender.read == 4
    second.cancel()


async def test_answers_come_as_they_are_ready() -> None:
    sender, desk = Sender([0, 1, 2]), Desk()
    answers = answered(sender.requests(), desk.answer, width=3, in_order=False)

    first = asyncio.create_task(anext(answers))
    await desk.has(0, 1, 2)
    desk.finish(2)

    assert await first == "answer 2"
    await answers.aclose()


async def test_answers_in_order_wait_for_those_before_them() -> None:
    sender, desk = Sender([0, 1, None]), Desk()  # type: ignore[list-item]
    answers = answered(sender.requests(), desk.answer, width=2, in_order=True)

    first = asyncio.create_task(anext(answers))
    await desk.has(0, 1)
    desk.finish(1)
    desk.finish(0)

    assert [await first, *[each async for each in answers]] == ["answer 0", "answer 1"]


@pytest.mark.parametrize("in_order", [True, False])
async def test_an_answer_does_not_wait_for_the_next_request(in_order: bool) -> None:
    sender, desk = Sender([0]), Desk()
    answers = answered(sender.requests(), desk.answer, width=2, in_order=in_order)

    first = asyncio.create_task(anext(answers))
    await desk.has(0)
    desk.finish(0)
    got_first = await first
    sender.send(1)
    second = asyncio.create_task(anext(answers))
    await desk.has(1)
    desk.finish(1)

    assert [got_first, await second] == ["answer 0", "answer 1"]
    await answers.aclose()


@pytest.mark.parametrize("in_order", [True, False])
async def test_an_error_among_the_requests_comes_after_the_answers_before_it(
    in_order: bool,
) -> None:
    sender, desk = Sender([0, 1]), Desk()
    sender.send(ValueError("malformed"))
    answers = answered(sender.requests(), desk.answer, width=4, in_order=in_order)

    first = asyncio.create_task(anext(answers))
    await desk.has(0, 1)
    desk.finish(0)
    desk.finish(1)

    assert {await first, await anext(answers)} == {"answer 0", "answer 1"}
    with pytest.raises(ValueError, match="malformed"):
        await anext(answers)


async def test_closing_cancels_what_is_under_way() -> None:
    sender, desk = Sender([0, 1]), Desk()
    answers = answered(sender.requests(), desk.answer, width=2, in_order=False)

    first = asyncio.create_task(anext(answers))
    await desk.has(0, 1)
    desk.finish(0)
    await first
    await answers.aclose()

    assert desk.cancelled == [1]


async def test_cancelling_the_reader_cancels_what_is_under_way() -> None:
    sender, desk = Sender([0, 1]), Desk()
    answers = answered(sender.requests(), desk.answer, width=2, in_order=False)

    first = asyncio.create_task(anext(answers))
    await desk.has(0, 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert sorted(desk.cancelled) == [0, 1]


async def test_no_requests_are_no_answers() -> None:
    sender, desk = Sender(), Desk()
    sender.send(None)

    answers = [
        each async for each in answered(sender.requests(), desk.answer, width=2, in_order=True)
    ]

    assert answers == []
