"""The program in docs/rag.md works as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from demo.server_process import ServerProcess
from finesieve_client import Client, passage
from tests.client.rag.llm_server import LlmServer

PAGE = Path(__file__).parents[3] / "docs" / "rag.md"


def answer(request: dict[str, Any]) -> str:
    names = request["response_format"]["json_schema"]["schema"]["required"]
    condition = {"field": "year", "comparison": "<", "values": [2020]}
    answers = {
        "queries": ["duplicate a directory"],
        "conditions": [condition],
        "collections": ["docs"],
    }
    return json.dumps({name: answers[name] for name in names})


def test_the_program_before_retrieval(server: ServerProcess) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with Client(server.address) as client:
        client.create_collection("rag-docs")
        texts = {"new": 2021, "old": 2019}
        client.upsert_passages(
            "rag-docs",
            [passage(name, "Copy a folder.", metadata={"year": texts[name]}) for name in texts],
        )
    program = program.replace("localhost:50051", server.address).replace('"docs",', '"rag-docs",')
    program += "\nprint([each.hit.passage.id for each in found.hits])"

    with LlmServer(answer) as llm:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENAI_BASE_URL": llm.base_url, "OPENAI_MODEL": "m"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['docs']", "['old']"]
