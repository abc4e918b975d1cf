"""What the README tells a stranger to type works as it stands there."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from demo.server_process import ServerProcess
from finesieve_client import Client, passage
from finesieve_server.index.catalog import Catalog
from tests.client.rag.llm_server import LlmServer
from tests.conftest import StartServer
from tests.server.index.corpus import embeddings, passages, spec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_below(heading: str, language: str) -> str:
    section = README.partition(f"\n{heading}\n")[2]
    block = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert block is not None, f"the README has no {language} below {heading!r}"
    return block.group(1)


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    return start_server()


def test_the_commands_in_the_terminal(server: ServerProcess, tmp_path: Path) -> None:
    commands = code_below("From the terminal:", "console")
    environment = {
        **os.environ,
        "FINESIEVE_SERVER": server.address,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "3 passages stored" in done.stderr
    assert "shutil.copytree" in done.stdout


async def test_the_commands_that_keep_a_data_directory_safe(tmp_path: Path) -> None:
    catalog = await Catalog.open(tmp_path / "finesieve-data")  # in use throughout
    docs = await catalog.create(spec())
    await docs.upsert(passages(20), list(embeddings(20)))

    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", code_below("## Keep it safe", "console")],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    await catalog.close()

    assert done.returncode == 0, done.stderr
    assert "docs: 20 passages" in done.stdout
    assert "sound" in done.stdout
    restored = await Catalog.open(tmp_path / "monday")
    assert (await (await restored.get("docs")).info()).passage_count == 20
    await restored.close()


def test_the_first_python_program(server: ServerProcess) -> None:
    program = code_below("From Python:", "python").replace("localhost:50051", server.address)

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 shutil.copytree ")
    assert len(done.stdout.splitlines()) == 2


def test_the_modes_in_python(server: ServerProcess) -> None:
    before = code_below("From Python:", "python")
    program = (before + indent(code_below("## Meaning, words, or both", "python"), "    ")).replace(
        "localhost:50051", server.address
    )

    done = subprocess.run(
        [sys.executable, "-c", f"{program}    print(hits[0].hit.passage.title)"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nshutil.copytree\n")


def test_an_answer_offline_and_one_by_a_model(server: ServerProcess) -> None:
    with Client(server.address) as client:
        client.create_collection("docs")
        client.upsert_passages(
            "docs",
            [
                passage("1", "Recursively copy a directory tree.", title="shutil.copytree"),
                passage("2", "Run functions at a given time.", title="sched.scheduler"),
            ],
        )
    offline = subprocess.run(
        ["bash", "-c", code_below("## Answer questions", "console")],
        env={
            **os.environ,
            "FINESIEVE_SERVER": server.address,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    program = code_below("## Answer questions", "python").replace("localhost:50051", server.address)
    with LlmServer("By shutil.copytree [1].") as llm:
        by_a_model = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENAI_MODEL": "m", "OPENAI_BASE_URL": llm.base_url},
            capture_output=True,
            text=True,
            check=False,
        )

    assert offline.returncode == 0, offline.stderr
    assert offline.stdout.startswith("Recursively copy a directory tree. [1]\n")
    assert by_a_model.returncode == 0, by_a_model.stderr
    assert by_a_model.stdout == (
        "By shutil.copytree [1].\n[1] shutil.copytree: Recursively copy a directory tree.\n"
    )


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    pages = [*ROOT.glob("[A-Z]*.md"), *ROOT.glob("docs/**/*.md")]

    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]

    assert broken == []


def test_every_make_target_named_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"make ([a-z-]+)", README))

    assert named - targets == set()
