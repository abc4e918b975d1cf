import asyncio
from collections.abc import Iterator

import pytest

from finesieve.v1 import results_pb2
from finesieve_server.errors import AnswerTooLarge
from finesieve_server.rpc.answers import MAX_ANSWER_BYTES, MIN_HIT_BYTES, Room, check_hits
from finesieve_server.rpc.turns import Turns

PART = results_pb2.Failure(message="x" * (MAX_ANSWER_BYTES // 10))


async def test_a_long_job_lets_others_have_their_turn() -> None:
    others = asyncio.Event()
    asyncio.get_running_loop().call_soon(others.set)

    def items() -> Iterator[int]:
        for item in range(100_000_000):
            if others.is_set():
                return
            yield item

    collected = await asyncio.wait_for(Turns().collect(items()), 60)

    assert others.is_set()
    assert collected == list(range(len(collected)))


async def test_many_short_jobs_of_one_answer_share_its_turn() -> None:
    others = asyncio.Event()
    asyncio.get_running_loop().call_soon(others.set)
    turns = Turns()

    async with asyncio.timeout(60):
        while not others.is_set():
            await turns.collect([1])


async def test_no_part_is_made_that_comes_after_a_full_answer() -> None:
    made = 0

    def parts() -> Iterator[results_pb2.Failure]:
        nonlocal made
        for _ in range(1_000):
            made += 1
            yield PART

    room = Room()
    first = await room.collect([PART] * 5)
    with pytest.raises(AnswerTooLarge):
        await room.collect(parts())

    assert len(first) == 5
    assert made == 5


def test_so_many_hits_are_refused_as_fit_into_no_answer() -> None:
    answer = results_pb2.Hit(passage={"id": "x"}, rank=1, retrieval_rank=1)
    most = MAX_ANSWER_BYTES // MIN_HIT_BYTES

    check_hits(most)
    with pytest.raises(AnswerTooLarge):
        check_hits(most + 1)

    assert answer.ByteSize() + 2 == MIN_HIT_BYTES
