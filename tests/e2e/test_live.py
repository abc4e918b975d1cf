"""A real server whose index grows, is compacted and is saved while it is searched."""

from collections.abc import Callable

import grpc

from benchmarks.live import BATCH, UPKEEP, Live, clusters
from tests.conftest import StartServer

PASSAGES = 3_000  # enough for a graph


async def test_searches_while_the_index_is_written_to_lose_and_double_nothing(
    start_server: StartServer,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    batches = repetitions(60, 4_000)
    server = start_server("--models", "none")

    async with grpc.aio.insecure_channel(server.address) as channel:
        live = Live(channel, clusters(50_000, 32, seed=6), PASSAGES, seed=6)
        await live.fill()
        await live.run(3_600, batches)

    outcome, log = live.outcome, server.log_path.read_text()
    upkeep = {what: log.count(f'"{what}"') for what in UPKEEP}
    report(f"{outcome.written} written, {dict(outcome.checks)} checked, {upkeep}")
    assert outcome.wrong == []
    assert outcome.written == batches * (BATCH + BATCH // 4)
    assert outcome.checks["there"] > batches
    assert outcome.checks["gone"] > 0
    assert outcome.checks["not reached in the graph"] <= outcome.checks["there"] // 100
    assert upkeep["index compaction finished"] > 0
    assert upkeep["snapshot saved"] > 0
