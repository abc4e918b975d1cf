import asyncio
import os
from collections.abc import Sequence

import pytest

from benchmarks.load import closed_loop, open_loop
from benchmarks.peers.peer import Unavailable
from benchmarks.workload import RerankCall

CALLS = [RerankCall(f"question {number}", [("", "text")] * 2) for number in range(12)]


class SlowPeer:
    """Answers one call at a time, each after `answer_s`; says how many waited at most."""

    name = "slow"
    pid = os.getpid()

    def __init__(self, answer_s: float, *, failing: str = "") -> None:
        self.asked: list[RerankCall] = []
        self.waited = 0
        self._answer_s = answer_s
        self._failing = failing
        self._waiting = 0
        self._one_at_a_time = asyncio.Lock()

    async def warm_up(self, calls: Sequence[RerankCall]) -> None: ...

    async def rerank(self, call: RerankCall) -> list[float]:
        self.asked.append(call)
        self._waiting += 1
        self.waited = max(self.waited, self._waiting)
        async with self._one_at_a_time:
            await asyncio.sleep(self._answer_s)
        self._waiting -= 1
        if call.query == self._failing:
            raise Unavailable("answered 500")
        return [0.0] * len(call.documents)


async def test_a_closed_loop_asks_every_call_once_and_one_of_each_caller_at_a_time() -> None:
    peer = SlowPeer(0.001)

    load = await closed_loop(peer, CALLS, callers=4)

    assert sorted(call.query for call in peer.asked) == sorted(call.query for call in CALLS)
    assert peer.waited == 4
    assert (load.pairs, len(load.latencies_s)) == (24, 12)


async def test_an_open_loop_sends_on_while_nothing_is_answered_and_counts_the_wait() -> None:
    peer = SlowPeer(0.02)

    load = await open_loop(peer, CALLS, rate=10_000, seed=0)

    assert peer.waited == len(CALLS)
    # The last of twelve waited for eleven others: 0.24 s, less what arriving took.
    assert max(load.latencies_s) > 0.15


async def test_an_open_loop_goes_on_after_a_call_without_an_answer_and_keeps_why() -> None:
    peer = SlowPeer(0.0, failing=CALLS[3].query)

    load = await open_loop(peer, CALLS, rate=10_000, seed=0)

    assert (load.failures, len(load.latencies_s)) == (["answered 500"], 11)


async def test_a_closed_loop_ends_at_the_first_call_without_an_answer() -> None:
    peer = SlowPeer(0.0, failing=CALLS[3].query)

    with pytest.raises(Unavailable, match="answered 500"):
        await closed_loop(peer, CALLS, callers=1)

    assert len(peer.asked) == 4
