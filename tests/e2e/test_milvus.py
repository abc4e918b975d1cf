"""The real server with Milvus behind it: milvus-lite on a file, asked through the real client."""

import subprocess
from pathlib import Path

import pytest

from demo.server_process import COMMAND, ServerProcess, ServerProcessError
from finesieve_client import Client, NotFound, Passage, field, passage
from tests.conftest import StartServer
from tests.e2e.requests import TEXTS

EEL, BREAD = 0, 1


def passages() -> list[Passage]:
    return [
        passage(f"p{at}", text, document_id=f"d{at % 2}", ordinal=at, metadata={"at": at})
        for at, text in enumerate(TEXTS)
    ]


def options(folder: Path) -> list[str]:
    return ["--index", "milvus", "--milvus-uri", str(folder / "milvus.db")]


def found(client: Client, query: str, **how: object) -> list[str]:
    answer = client.search("docs", query, **how)  # type: ignore[arg-type]
    return [each.hit.passage.id for each in answer.hits]


def test_ingest_search_filter_delete_and_restart(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*options(tmp_path))
    with Client(server.address) as client:
        client.create_collection("docs")
        upserted = client.upsert_passages("docs", passages())
        again = client.upsert_passages("docs", passages()[:1])

        assert (upserted.inserted, again.updated) == (len(TEXTS), 1)
        assert found(client, "Where do eels go to reproduce?")[0] == f"p{EEL}"
        assert (
            found(client, "Where do eels go to reproduce?", filter=field("at") >= 1).count(
                f"p{EEL}"
            )
            == 0
        )
        assert client.delete_passages("docs", filter=field("at") == EEL).deleted == 1
        with pytest.raises(NotFound):
            client.search("nothing", "eels")
    assert server.stop() == 0

    server = start_server(*options(tmp_path))
    with Client(server.address) as client:
        [collection] = client.all_collections()
        assert collection.passage_count == len(TEXTS) - 1
        assert found(client, "why does dough get bigger")[0] == f"p{BREAD}"
        listed = [each.id for each in client.all_passages("docs")]
        assert listed == sorted(each.id for each in passages()[1:])
        window = client.search("docs", "why does dough get bigger", window=1).hits[0]
        assert [each.id for each in window.after] == ["p3"], "of its own document"
        client.delete_collection("docs")
        assert list(client.all_collections()) == []


def test_words_and_both_lists_find_what_they_find_in_the_embedded_index(
    start_server: StartServer, tmp_path: Path
) -> None:
    embedded, milvus = start_server(), start_server(*options(tmp_path))
    stored = [*passages(), passage("han", "我喜欢喝茶。"), passage("street", "Eine lange Straße")]
    with Client(embedded.address) as one, Client(milvus.address) as other:
        for client in (one, other):
            client.create_collection("docs")
            client.upsert_passages("docs", stored)

        def retrieved(client: Client, query: str, mode: str) -> list[str]:
            answer = client.retrieve("docs", query, mode=mode)  # type: ignore[arg-type]
            return [each.passage.id for each in answer.hits]

        for query, sought in [
            ("喝茶", "han"),
            ("STRASSE", "street"),
            ("threading", "p2"),
            ("Where do eels go to reproduce?", f"p{EEL}"),
        ]:
            for mode in ("lexical", "hybrid"):
                there = retrieved(other, query, mode)
                assert there == retrieved(one, query, mode), (query, mode)
                assert there[0] == sought, (query, mode)
            assert len(retrieved(other, query, "hybrid")) == len(stored), "the dense list is in it"
            assert found(other, query, mode="hybrid") == found(one, query, mode="hybrid")


def test_passages_move_from_the_embedded_index_to_milvus_as_they_are(
    start_server: StartServer, tmp_path: Path
) -> None:
    embedded, milvus = start_server(), start_server(*options(tmp_path))
    with Client(embedded.address) as source, Client(milvus.address) as target:
        for client in (source, target):
            client.create_collection("docs")
        source.upsert_passages("docs", passages())

        target.upsert_passages("docs", source.all_passages("docs", view="with_embedding"))

        moved = list(target.all_passages("docs", view="with_embedding"))
        assert moved == list(source.all_passages("docs", view="with_embedding"))


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://127.0.0.1:1", "Milvus at http://127.0.0.1:1 cannot be reached"),
        ("http://root:secret@127.0.0.1:1", "Milvus at http://127.0.0.1:1 cannot be reached"),
        ("", "milvus_uri: is needed with --index milvus"),
    ],
)
def test_a_server_that_cannot_reach_its_milvus_says_so_and_ends(
    tmp_path: Path, uri: str, says: str
) -> None:
    ended = subprocess.run(
        [COMMAND, "--index", "milvus", "--milvus-uri", uri, "--models", "none", "--port", "0",
         "--metrics-port", "-1", "--milvus-token", "secret"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip

    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr + ended.stdout


def test_a_server_whose_file_another_has_says_so_and_ends(
    start_server: StartServer, tmp_path: Path
) -> None:
    start_server(*options(tmp_path))

    ended = subprocess.run(
        [COMMAND, *options(tmp_path), "--models", "none", "--port", "0", "--metrics-port", "-1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 2
    assert "another process may have it open" in ended.stderr


def test_without_the_extra_the_server_says_what_to_install(tmp_path: Path) -> None:
    # A package that cannot be imported stands in the way of the real one.
    (tmp_path / "pymilvus.py").write_text("raise ModuleNotFoundError(name='pymilvus')")
    log = tmp_path / "server.log"
    import_first = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    run = "from finesieve_server.app import main; main()"

    server = ServerProcess(
        tmp_path / "data",
        log,
        [*options(tmp_path), "--models", "none"],
        command=[str(COMMAND.parent / "python"), "-c", f"{import_first}; {run}"],
    )

    with pytest.raises(ServerProcessError):
        server.wait_until_serving()
    assert "pip install 'finesieve[server,milvus]'" in log.read_text()
    assert server.stop() == 2
