"""`finesieve ingest --chunk` against the real server with its bundled models."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from demo.server_process import ServerProcess
from finesieve.v1.passages_pb2 import Passage
from finesieve_client import Client, document, metadata_of, passage
from finesieve_client.cli import app
from tests.client.chunking.pdf_bytes import pdf

ROOT = Path(__file__).parents[2]
EELS = "Eels spawn in the Sargasso Sea and drift to Europe as larvae."
BEES = "Bees dance to show where flowers are."


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address, timeout_s=60) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder "docs" in the current one, with a document of each kind."""
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "eels.md").write_text(f"# Animals\n\n## Eels\n\n{EELS}\n\n## Bees\n\n{BEES}\n")
    (docs / "bats.html").write_text("<title>Bats</title><nav>Home</nav><p>Bats find moths by echo.")
    (docs / "camels.pdf").write_bytes(pdf([["Camels store fat in their humps."]], "Camels"))
    (docs / "whales.txt").write_text("Whales breathe air through a blowhole.")
    return docs


def run(server: ServerProcess, *arguments: str) -> Result:
    environment = {"FINESIEVE_SERVER": server.address, "COLUMNS": "120"}
    command = ["ingest", "--chunk", "--timeout", "60", *arguments]
    return CliRunner().invoke(app, command, env=environment)


def values(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def stored(client: Client, collection: str) -> dict[str, Passage]:
    return {each.id: each for each in client.all_passages(collection)}


def long_text(num_sentences: int) -> str:
    return " ".join(f"Sentence {at} has five words." for at in range(num_sentences))


def test_a_folder_is_stored_and_found(server: ServerProcess, client: Client, folder: Path) -> None:
    done = values(run(server, "docs", "-c", "chunk-folder", "--json"))

    best = client.search("chunk-folder", "Which animal sees with its ears?", top_n=1).hits[0].hit
    assert best.passage.id == "docs/bats.html#0"
    assert (done["documents"], done["passages"], done["bad"]) == (4, 4, [])
    passages = stored(client, "chunk-folder")
    assert passages["docs/camels.pdf#0"].title == "Camels"
    assert metadata_of(passages["docs/camels.pdf#0"])["page"] == 1
    assert {metadata_of(each)["source"] for each in passages.values()} == {
        each.document_id for each in passages.values()
    }


def test_a_second_run_stores_what_is_changed_alone(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    values(run(server, "docs", "-c", "chunk-again", "--json"))
    (folder / "whales.txt").write_text("Whales sing.")

    again = values(run(server, "docs", "-c", "chunk-again", "--json"))

    assert (again["documents"], again["unchanged"]) == (1, 3)
    assert stored(client, "chunk-again")["docs/whales.txt#0"].text == "Whales sing."


@pytest.mark.parametrize("num_sentences", [40, 2_500], ids=["in one call", "in several calls"])
def test_a_document_that_became_shorter_leaves_nothing_behind(
    server: ServerProcess, client: Client, folder: Path, num_sentences: int
) -> None:
    name = f"chunk-shorter-{num_sentences}"
    path = folder / "long.txt"
    path.write_text(long_text(num_sentences))
    arguments = ("docs/long.txt", "-c", name, "--size", "32", "--json")
    before = values(run(server, *arguments))
    path.write_text(long_text(20))

    after = values(run(server, *arguments))

    assert before["passages"] - after["removed"] == len(stored(client, name))
    ends = [metadata_of(each)["end"] for each in stored(client, name).values()]
    assert max(ends) == len(long_text(20))


def test_a_document_that_became_empty_is_found_no_more(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    values(run(server, "docs", "-c", "chunk-emptied", "--json"))
    (folder / "whales.txt").write_text("")
    (folder / "bats.html").write_bytes(b"a\0b")  # which cannot be read, and keeps its old text

    result = run(server, "docs", "-c", "chunk-emptied")

    assert result.exit_code == 1
    assert "docs/whales.txt: not stored: has no text" in result.stderr
    assert "1 passages removed that they no longer hold" in result.stderr
    assert stored(client, "chunk-emptied").keys() == {
        "docs/bats.html#0",
        "docs/camels.pdf#0",
        "docs/eels.md#0",
    }


def test_a_name_that_is_not_utf_8_costs_nothing(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    Path(os.fsdecode(bytes(folder) + b"/b\xff.txt")).write_text(BEES)
    Path(os.fsdecode(bytes(folder) + b"/e\xff.txt")).write_text("")

    result = run(server, "docs", "-c", "chunk-odd-name", "--json")

    assert "docs/b?.txt: its name is not UTF-8" in result.stderr
    assert json.loads(result.stdout)["bad"] == [{"path": "docs/e?.txt", "reason": "has no text"}]
    (odd,) = [each for each in stored(client, "chunk-odd-name").values() if each.text == BEES]
    assert (odd.title, metadata_of(odd)["source"]) == ("b?", "docs/b?.txt")


def test_a_run_that_was_interrupted_is_repaired_by_the_next(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    (folder / "long.txt").write_text(long_text(2_500))
    arguments = ("docs", "-c", "chunk-repaired", "--size", "32", "--json")
    values(run(server, *arguments))
    whole = stored(client, "chunk-repaired")
    lost = sorted(each for each in whole if each.startswith("docs/long"))[::3]
    client.delete_passages("chunk-repaired", ids=lost)
    client.upsert_passages(
        "chunk-repaired",
        [passage("docs/long.txt#99999", "stale", document_id="docs/long.txt", ordinal=99_999)],
    )

    again = values(run(server, *arguments))

    assert stored(client, "chunk-repaired") == whole
    assert (again["passages"], again["removed"]) == (len(lost), 1)


def test_other_documents_of_the_collection_stay(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    client.create_collection("chunk-beside")
    client.upsert_passages("chunk-beside", [passage("mine", "text", document_id="mine")])

    values(run(server, "docs/eels.md", "-c", "chunk-beside", "--json"))

    assert {"mine", "docs/eels.md#0"} <= stored(client, "chunk-beside").keys()


def test_no_passage_is_longer_than_its_size_to_the_model_that_embeds_it(
    server: ServerProcess, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)

    done = values(run(server, "docs", "README.md", "-c", "chunk-own", "--parents", "--json"))

    passages = list(client.all_passages("chunk-own"))
    found = [each for each in passages if not each.context_only]
    texts = [f"{each.title} {each.text}" for each in found]
    counted = [client.count_tokens(texts[at : at + 500]) for at in range(0, len(texts), 500)]
    tokens = [count + part.added_tokens for part in counted for count in part.tokens]
    assert done["bad"] == []
    assert max(tokens) <= 128
    assert sum(tokens) / len(tokens) > 64
    hit = client.search("chunk-own", "convert a model of my own for the server", top_n=3).hits[0]
    assert hit.hit.passage.document_id in ("README.md", "docs/gpu.md")


def test_leaves_are_found_and_their_parents_stand_in_for_them(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    text = " ".join(f"The eel number {at} swims to the Sargasso Sea." for at in range(60))
    (folder / "eels.txt").write_text(text)
    values(run(server, "docs/eels.txt", "-c", "chunk-tree", "--parents", "--size", "32", "--json"))

    merged = client.search("chunk-tree", "Where do eels swim?", top_n=3, merge_share=0.3).hits
    windowed = client.search("chunk-tree", "Where do eels swim?", top_n=1, window=1).hits[0]

    assert any(hit.hit.passage.context_only and hit.merged_ids for hit in merged)
    around = [*windowed.before, windowed.hit.passage, *windowed.after]
    ordinals = [each.ordinal for each in around]
    assert ordinals == list(range(ordinals[0], ordinals[0] + len(around)))
    assert not any(each.context_only for each in around)


def test_what_cannot_be_read_is_named_and_the_rest_is_stored(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    (folder / "empty.txt").write_bytes(b"")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 oops")
    (folder / "locked.pdf").write_bytes(pdf([["x"]], locked=True))
    (folder / "scan.pdf").write_bytes(pdf([[]]))
    (folder / "old.txt").write_bytes("Où est la bibliothèque ? Café à côté.".encode("latin-1"))
    (folder / "gone.txt").symlink_to("nowhere")

    result = run(server, "docs", "-c", "chunk-bad")

    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert "docs/empty.txt: not stored: has no text" in lines
    assert "docs/locked.pdf: not stored: is locked with a password" in lines
    assert "docs/scan.pdf: not stored: has no text on its 1 pages: a scan needs OCR first" in lines
    assert "docs/gone.txt: not stored: No such file or directory" in lines
    assert any(line.startswith("docs/broken.pdf: not stored: is no readable PDF") for line in lines)
    assert "docs/old.txt: is not UTF-8 at byte 1; read as cp1252" in lines
    assert "5 documents stored in 5 passages, 5 not stored" in lines[-1]
    assert len(stored(client, "chunk-bad")) == 5


def test_a_dry_run_writes_rows_that_ingest_takes_and_asks_no_server(folder: Path) -> None:
    environment = {"FINESIEVE_SERVER": "localhost:1"}

    result = CliRunner().invoke(app, ["ingest", "--chunk", "docs", "--dry-run"], env=environment)

    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["document_id"] for row in rows] == [
        "docs/bats.html",
        "docs/camels.pdf",
        "docs/eels.md",
        "docs/whales.txt",
    ]
    assert "nothing was stored" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("docs", "-c", "x", "--size", "8"), "size is 8; allowed 32..4096"),
        (("docs", "-c", "x", "--language", "zz"), "language is 'zz'; allowed are the codes of ISO"),
        (("docs", "-c", "x", "--overlap", "200"), "overlap is 200; allowed 0..128"),
        (("-", "-c", "x"), "standard input has no name"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_anything_is_done(
    server: ServerProcess, folder: Path, arguments: tuple[str, ...], reason: str
) -> None:
    result = run(server, *arguments)

    assert result.exit_code == 2
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("docs", "-c", "x"), "docs is a folder; with --chunk its documents are stored"),
        (("--chunk", "docs"), "--collection NAME is missing"),
        (("rows.jsonl", "--dry-run"), "--dry-run shows how documents are cut"),
    ],
)
def test_what_is_missing_is_said_without_a_server(
    folder: Path, arguments: tuple[str, ...], reason: str
) -> None:
    result = CliRunner().invoke(app, ["ingest", *arguments])

    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_folder_that_is_not_there_is_an_error(server: ServerProcess, folder: Path) -> None:
    result = run(server, "nothing", "-c", "x")

    assert result.exit_code == 1
    assert "nothing: No such file or directory" in result.stderr


def test_a_collection_whose_callers_embed_takes_no_documents(
    server: ServerProcess, client: Client, folder: Path
) -> None:
    client.create_collection("chunk-embedded", dimension=2, caller_embeds=True)

    result = run(server, "docs", "-c", "chunk-embedded")

    assert result.exit_code == 2
    assert "bring their embeddings" in result.stderr


def test_more_than_the_model_reads_is_warned_of(server: ServerProcess, folder: Path) -> None:
    result = run(server, "docs", "-c", "chunk-large", "--size", "512")

    assert result.exit_code == 0
    assert "--size 512 is more than all-MiniLM-L6-v2 reads (256 tokens)" in result.stderr


def test_without_the_extra_it_says_what_to_install(folder: Path) -> None:
    program = (
        "import sys; sys.modules['sentencex'] = None\n"
        "from finesieve_client.cli import main; sys.argv[0] = 'finesieve'; main()"
    )
    command = [sys.executable, "-c", program, "ingest", "--chunk", "docs", "-c", "x", "--dry-run"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    assert done.returncode == 1
    assert (
        done.stderr
        == "finesieve: reading documents needs sentencex: pip install 'finesieve[ingest]'\n"
    )


def test_the_command_starts_without_the_libraries_that_read_documents() -> None:
    program = (
        "import sys, finesieve_client.cli, finesieve_client.chunking\n"
        "print(sorted(sys.modules.keys() & {'sentencex', 'selectolax', 'pypdfium2', 'regex', "
        "'charset_normalizer'}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_a_document_is_found_by_its_id(server: ServerProcess, client: Client, folder: Path) -> None:
    values(run(server, "docs", "-c", "chunk-by-id", "--json"))

    found = list(client.all_passages("chunk-by-id", filter=document("docs/eels.md")))

    assert {each.document_id for each in found} == {"docs/eels.md"}
