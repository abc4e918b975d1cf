"""Each example of docs/integrations.md runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.server_process import ServerProcess
from finesieve_client import Client, passage

PAGE = (Path(__file__).parents[3] / "docs" / "integrations.md").read_text(encoding="utf-8")
BEST = "Recursively copy a directory tree."
COLLECTION = "integrations-docs"


@pytest.fixture(scope="module")
def address(server: ServerProcess) -> str:
    with Client(server.address) as client:
        client.create_collection(COLLECTION)
        client.upsert_passages(
            COLLECTION,
            [
                passage("1", BEST, title="shutil.copytree"),
                passage("2", "Run functions at a given time.", title="sched.scheduler"),
            ],
        )
    return server.address


@pytest.mark.parametrize("framework", ["LangChain", "LlamaIndex", "Haystack"])
def test_the_example(address: str, framework: str) -> None:
    section = PAGE.partition(f"\n## {framework}\n")[2]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    program = (
        block.group(1).replace("localhost:50051", address).replace('"docs"', f'"{COLLECTION}"')
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == BEST
