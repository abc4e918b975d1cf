"""What a running server says of itself: its metrics, and its memory as the kernel counts it."""

import asyncio
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from demo.server_process import ServerProcess

KIB = 1024


async def metric(server: ServerProcess, name: str, **labels: str) -> float:
    """Return a metric's value, summed over the labels that are not given; 0 where it has none."""
    page = await asyncio.to_thread(_page, server)
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def nothing_is_left_inside(server: ServerProcess, within_s: float = 10.0) -> None:
    """Return once no call is inside and no token waits; raises TimeoutError where one stays."""
    async with asyncio.timeout(within_s):
        while await _inside(server):  # noqa: ASYNC110 - another process counts them
            await asyncio.sleep(0.01)


async def _inside(server: ServerProcess) -> float:
    calls = await metric(server, "finesieve_calls_in_flight")
    return calls + await metric(server, "finesieve_waiting_tokens")


def memory_bytes(server: ServerProcess) -> int:
    """Return what the process holds that is no file's: its heap and stacks, in memory now."""
    for line in Path(f"/proc/{server.pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Anonymous":
            return int(rest.split()[0]) * KIB
    raise AssertionError("the kernel gives no count of anonymous memory")


def _page(server: ServerProcess) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as answer:
        content: bytes = answer.read()
    return content.decode()
