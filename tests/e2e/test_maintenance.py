"""The commands beside serving, as an operator types them, on a real server's data."""

import json
import subprocess
import threading
from pathlib import Path

import numpy as np

from demo.server_process import COMMAND
from finesieve_client import Client, passage
from tests.conftest import StartServer

DIMENSION = 8


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COMMAND), *arguments], capture_output=True, text=True, check=False)


class Writer(threading.Thread):
    """Batches of fifty passages, one after the other, until told to stop."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.batches = 0
        self.stop = threading.Event()
        self._client = client

    def run(self) -> None:
        while not self.stop.is_set():
            random = np.random.default_rng(self.batches)
            batch = [
                passage(
                    f"p{self.batches * 50 + at:06}",
                    f"text {at} of batch {self.batches}",
                    embedding=random.standard_normal(DIMENSION).tolist(),
                )
                for at in range(50)
            ]
            self._client.upsert_passages("docs", batch)
            self.batches += 1


def test_a_backup_taken_under_writes_is_restored_elsewhere_with_all_that_was_answered(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server("--models", "none", data_dir=tmp_path / "data")
    with Client(server.address) as client:
        client.create_collection("docs", caller_embeds=True, dimension=DIMENSION)
        writer = Writer(client)
        writer.start()
        while writer.batches < 20:
            assert writer.is_alive()
        before = writer.batches

        made = command("backup", "--data-dir", str(server.data_dir), "--to", str(tmp_path / "copy"))

        writer.stop.set()
        writer.join()
    assert made.returncode == 0, made.stderr
    in_use = command("check", "--data-dir", str(server.data_dir))
    assert (in_use.returncode, in_use.stdout) == (2, "")
    assert "in use by another server; stop that" in in_use.stderr
    server.kill()
    again = command("backup", "--data-dir", str(server.data_dir), "--to", str(tmp_path / "copy"))
    assert again.returncode == 2
    assert "is not empty; name a new folder" in again.stderr

    checked = command("check", "--data-dir", str(tmp_path / "copy"), "--json")
    assert checked.returncode == 0, checked.stdout
    assert all(json.loads(line)["sound"] for line in checked.stdout.splitlines())
    restored = start_server("--models", "none", data_dir=tmp_path / "copy")
    with Client(restored.address) as client:
        ids = [each.id for each in client.all_passages("docs")]
        assert len(ids) % 50 == 0
        assert before * 50 <= len(ids) <= writer.batches * 50
        assert ids == [f"p{number:06}" for number in range(len(ids))]
        query = np.random.default_rng(before - 1).standard_normal(DIMENSION).tolist()
        [nearest] = client.retrieve("docs", query, top_k=1).hits
        assert nearest.passage.id == f"p{(before - 1) * 50:06}"


def test_damage_is_told_in_a_table_and_rebuilt(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--models", "none", data_dir=tmp_path / "data")
    with Client(server.address) as client:
        client.create_collection("docs", caller_embeds=True, dimension=DIMENSION)
        vectors = np.random.default_rng(3).standard_normal((2_500, DIMENSION))
        for start in range(0, len(vectors), 500):
            batch = [
                passage(f"p{start + at}", "text", embedding=vector.tolist())
                for at, vector in enumerate(vectors[start : start + 500])
            ]
            client.upsert_passages("docs", batch)
    assert server.stop() == 0
    [manifest] = server.data_dir.glob("collections/*/index.json")
    manifest.write_text(manifest.read_text().replace("generation", "regeneration"))

    damaged = command("check", "--data-dir", str(server.data_dir))
    rebuilt = command("rebuild", "--data-dir", str(server.data_dir), "--collection", "docs")
    sound = command("check", "--data-dir", str(server.data_dir))

    assert damaged.returncode == 1
    assert "the manifest is damaged" in damaged.stdout.replace("\n", " ")
    assert (rebuilt.returncode, rebuilt.stdout) == (0, "docs: 2500 vectors indexed\n")
    assert sound.returncode == 0
    assert sound.stdout.endswith("sound\n")


def test_a_rebuild_tells_of_a_damaged_collection_and_goes_on(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server("--models", "none", data_dir=tmp_path / "data")
    with Client(server.address) as client:
        for name in ("docs", "other"):
            client.create_collection(name, caller_embeds=True, dimension=DIMENSION)
    assert server.stop() == 0
    damaged, _ = server.data_dir.glob("collections/*/store.db")
    damaged.write_bytes(b"")

    rebuilt = command("rebuild", "--data-dir", str(server.data_dir))

    assert rebuilt.returncode == 1, rebuilt.stderr
    assert f"{damaged} is damaged: it holds nothing\n" in rebuilt.stdout
    assert ": 0 vectors indexed\n" in rebuilt.stdout


def test_each_command_explains_itself_and_refuses_what_is_no_data_directory(tmp_path: Path) -> None:
    for name in ("check", "rebuild", "backup"):
        assert command(name, "--help").returncode == 0
        options = ["--to", str(tmp_path / "copy")] if name == "backup" else []

        refused = command(name, "--data-dir", str(tmp_path), *options)

        assert refused.returncode == 2
        assert refused.stderr == (
            f"finesieve-server: {tmp_path} is no data directory: it holds no catalog.db\n"
        )
    assert list(tmp_path.iterdir()) == []
