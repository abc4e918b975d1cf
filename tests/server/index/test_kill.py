"""What is acknowledged survives kill -9 at any moment, whole, and the index equals the store."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests import forked
from tests.server.index.durability import Ledger
from tests.server.index.writer_process import run

LONGEST_OPENING_S = 0.3
MOST_OPERATIONS = 12
LONGEST_OPERATION_S = 0.05
POLL_S = 0.002


async def test_a_killed_writer_has_lost_nothing_halved_nothing_and_revived_nothing(
    tmp_path: Path,
    repetitions: Callable[[int, int], int],
    report: Callable[[str], None],
) -> None:
    """Snapshots, growth and compactions are as frequent here as kills."""
    random = np.random.default_rng(4)
    ledger = Ledger(with_tokens=True)

    for kill in range(repetitions(8, 1000)):
        numbers = run_and_kill(tmp_path, ledger.done, random)
        ledger.acknowledge(numbers)
        # Half of them close, which saves the index; after the others the next starts from a crash.
        await ledger.require(tmp_path / "data", close=kill % 2 == 1)

    report(f"{ledger.done} operations stored, none lost")
    assert ledger.done > 10, "too little was written for the test to mean anything"


def run_and_kill(folder: Path, number: int, random: np.random.Generator) -> list[int]:
    """Let a process write from operation `number` on; return what it acknowledged when killed.

    One in five is killed while it opens, the others after some operations, within the next.
    """
    output = folder / "output"
    process = forked.start(run, folder / "data", number, output=output)
    wanted = 0 if random.random() < 0.2 else int(random.integers(1, MOST_OPERATIONS))
    while len(done(output)) < wanted:
        assert process.is_alive(), output.read_text()
        time.sleep(POLL_S)
    # The moment of the kill is the one thing here that has to be a time.
    time.sleep(random.uniform(0, LONGEST_OPERATION_S if wanted else LONGEST_OPENING_S))
    process.kill()
    process.join()
    return done(output)


def done(output: Path) -> list[int]:
    lines = output.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.startswith("done ") and line.endswith("\n")]
    return [int(line.removeprefix("done ")) for line in whole]
