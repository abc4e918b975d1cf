"""What is damaged is found by a check, made again by a rebuild where it can be, and backed up."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import numpy as np
import pytest

from finesieve_server.errors import CollectionNotFound, DataLoss, FailedPrecondition, StorageFull
from finesieve_server.index.backup import backup
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.directory import LOCK
from finesieve_server.index.maintenance import Rebuilt, check, rebuild
from finesieve_server.index.manifest import MANIFEST
from finesieve_server.index.progress import Progress, logged
from finesieve_server.index.records import Passage, State, View
from tests.server.index.corpus import embeddings, ids, passages, spec
from tests.server.index.disk import Disk
from tests.server.index.format_1 import write_directory

COUNT = 2200
PARTS = ["pages", "identity", "rows", "metadata", "words", "snapshot", "embeddings"]


def told(name: str) -> Progress:
    return logged("maintenance", collection=name)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with "docs", which has a snapshot and more since, and a small "other"."""
    data_dir = tmp_path_factory.mktemp("written") / "data"
    asyncio.run(write(data_dir))
    return data_dir


async def write(data_dir: Path) -> None:
    catalog = await Catalog.open(data_dir)
    docs = await catalog.create(spec())
    await docs.upsert(passages(COUNT), list(embeddings(COUNT)), {"key": [b"tokens"] * COUNT})
    await docs.settled()
    await catalog.close()
    catalog = await Catalog.open(data_dir)
    docs = await catalog.get("docs")
    await docs.upsert(passages(10, COUNT), list(embeddings(10, seed=3)))
    await docs.delete(["p00005"])
    await docs.upsert([Passage("parent", context_only=True, text="whole")], [None])
    other = await catalog.create(spec("other"))
    await other.upsert(passages(20, some={"deep": [1, 2.5, True]}), list(embeddings(20)))
    await catalog.close()


@pytest.fixture
def data_dir(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "data")
    return tmp_path / "data"


def problems(data_dir: Path) -> dict[tuple[str, str], str]:
    """Return what is wrong with each part, by collection and part."""
    return {
        (name, finding.part): finding.problem
        for name, finding in check(data_dir, told)
        if finding.problem
    }


def store_of(data_dir: Path, name: str = "docs") -> Path:
    catalog = apsw.Connection(str(data_dir / "catalog.db"))
    uid: str = catalog.execute("SELECT uid FROM collections WHERE name = ?", (name,)).get
    catalog.close()
    return data_dir / "collections" / uid / "store.db"


def test_a_sound_directory_is_found_sound_in_every_part(data_dir: Path) -> None:
    findings = list(check(data_dir, told))

    assert [finding.problem for _, finding in findings] == [""] * 15
    assert [finding.part for name, finding in findings if name == "docs"] == PARTS
    assert [finding.part for name, finding in findings if name == "other"] == PARTS
    notes = {(name, finding.part): finding.note for name, finding in findings}
    assert notes["", "catalog"] == "2 collections"
    assert notes["docs", "rows"] == f"{COUNT + 10} passages"
    assert notes["docs", "snapshot"] == f"{COUNT} vectors in the graph"
    assert notes["other", "snapshot"] == "none yet"


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("rows", "DELETE FROM contents WHERE label = 7"),
        ("rows", "DELETE FROM passages WHERE label = 7"),
        ("rows", "UPDATE contents SET embedding = NULL WHERE label = 7"),
        ("rows", "UPDATE contents SET embedding = x'0011' WHERE label = 7"),
        ("rows", "INSERT INTO passage_tokens VALUES (99999, 1, x'00')"),
        ("metadata", "UPDATE contents SET metadata = '{\"number\": 8}' WHERE label = 7"),
        ("metadata", "DELETE FROM passage_fields WHERE label = 7"),
        ("words", "UPDATE contents SET text = 'otherwise' WHERE label = 7"),
        ("words", "UPDATE lexical_segments SET living = 0"),
        ("words", "UPDATE lexical_segments SET first_label = first_label + 1"),
        ("words", "UPDATE lexical_segments SET last_label = last_label - 1"),
        ("rows", "UPDATE sqlite_sequence SET seq = 3"),
        ("rows", "DELETE FROM sqlite_sequence"),
        ("metadata", "UPDATE contents SET metadata = '{' WHERE label = 7"),
        ("store", "DROP TABLE passages"),
        ("format", "PRAGMA user_version = 0"),
        ("snapshot", "UPDATE collection SET generation = generation + 5"),
        ("embeddings", "UPDATE contents SET embedding = zeroblob(128) WHERE label = 7"),
        (
            "embeddings",
            "UPDATE contents AS a SET embedding = b.embedding FROM contents b WHERE b.label = 8",
        ),
    ],
)
def test_rows_that_do_not_agree_are_found(data_dir: Path, part: str, statement: str) -> None:
    store = apsw.Connection(str(store_of(data_dir)))
    store.execute(statement)
    store.close()

    found = problems(data_dir)

    assert ("docs", part) in found
    assert {name for name, _ in found} == {"docs"}


def test_a_damaged_page_is_found(data_dir: Path) -> None:
    path = store_of(data_dir)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\x5a" * 4096)

    assert list(problems(data_dir)) == [("docs", "pages")]


def test_a_catalog_that_is_no_database_is_found(data_dir: Path) -> None:
    (data_dir / "catalog.db").write_bytes(b"\x5a" * 8192)

    assert list(problems(data_dir)) == [("", "catalog")]


def test_an_empty_catalog_is_found_and_left_as_it_is(data_dir: Path) -> None:
    (data_dir / "catalog.db").write_bytes(b"")

    assert list(problems(data_dir)) == [("", "catalog")]

    assert (data_dir / "catalog.db").read_bytes() == b""


def test_damaged_rows_of_the_catalog_and_folders_that_it_does_not_name_are_found(
    data_dir: Path,
) -> None:
    lost = store_of(data_dir).parent.name
    catalog = apsw.Connection(str(data_dir / "catalog.db"))
    catalog.execute("UPDATE collections SET uid = ? WHERE name = 'docs'", ("0" * 32,))
    catalog.execute("UPDATE collections SET spec = '{' WHERE name = 'other'")
    catalog.close()

    found = list(problems(data_dir))

    assert found == [("", f"folder {lost}"), ("docs", "store"), ("other", "catalog")]


def test_stores_of_each_other_s_collection_are_found_and_not_rebuilt(data_dir: Path) -> None:
    docs, other = store_of(data_dir), store_of(data_dir, "other")
    docs.rename(data_dir / "aside")
    other.rename(docs)
    (data_dir / "aside").rename(other)

    found = problems(data_dir)

    assert {("docs", "identity"), ("other", "identity")} <= set(found)
    [rebuilt] = rebuild(data_dir, "docs", 1, told)
    assert "is another collection's" in rebuilt.problem


@pytest.mark.parametrize("column", ["living = 0", "first_label = first_label + 1"])
def test_damaged_segments_of_words_are_made_again(data_dir: Path, column: str) -> None:
    store = apsw.Connection(str(store_of(data_dir)))
    store.execute(f"UPDATE lexical_segments SET {column}")
    store.close()

    list(rebuild(data_dir, "docs", 1, told))

    assert problems(data_dir) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda store: store.write_bytes(b""),
        lambda store: os.truncate(store, 100),
        lambda store: os.truncate(store, store.stat().st_size // 2),
        lambda store: store.unlink(),
        lambda store: shutil.rmtree(store.parent),
    ],
)
async def test_one_collection_s_damage_stops_no_check_no_rebuild_and_no_start(
    data_dir: Path, damage: Callable[[Path], object]
) -> None:
    damage(store_of(data_dir))

    findings = list(check(data_dir, told))
    rebuilt = list(rebuild(data_dir, None, 1, told))

    assert {name for name, finding in findings if finding.problem} == {"docs"}
    assert [finding.part for name, finding in findings if name == "other"] == PARTS
    assert [(each.name, each.vectors, bool(each.problem)) for each in rebuilt] == [
        ("docs", 0, True),
        ("other", 20, False),
    ]
    catalog = await Catalog.open(data_dir)
    await catalog.started()
    with pytest.raises(DataLoss):
        await (await catalog.get("docs")).get(["p00006"], View.ID)
    assert len(await (await catalog.get("other")).get(["p00006"], View.ID)) == 1
    await catalog.close()


def test_a_missing_store_is_found(data_dir: Path) -> None:
    store_of(data_dir, "other").unlink()

    assert list(problems(data_dir)) == [("other", "store")]


@pytest.mark.parametrize("pattern", ["graph-*", "slots-*", "vectors-*", MANIFEST])
async def test_a_damaged_snapshot_is_found_and_made_again(data_dir: Path, pattern: str) -> None:
    [path] = store_of(data_dir).parent.glob(pattern)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert list(problems(data_dir)) == [("docs", "snapshot")]

    assert list(rebuild(data_dir, None, 1, told)) == [
        Rebuilt("docs", COUNT + 9),
        Rebuilt("other", 20),
    ]

    assert problems(data_dir) == {}
    await require_whole(data_dir, State.READY)


async def test_damaged_words_are_made_again_in_the_collection_that_is_named(data_dir: Path) -> None:
    store = apsw.Connection(str(store_of(data_dir)))
    store.execute("UPDATE contents SET text = 'otherwise' WHERE label = 7")
    store.close()

    assert list(rebuild(data_dir, "docs", 2, told)) == [Rebuilt("docs", COUNT + 9)]

    assert problems(data_dir) == {}
    catalog = await Catalog.open(data_dir)
    [found] = await (await catalog.get("docs")).search_lexical(["otherwise"], 3)
    assert ids(found) == ["p00006"]
    await catalog.close()


def test_a_directory_of_format_1_is_told_and_rebuilt(tmp_path: Path) -> None:
    write_directory(tmp_path, embeddings(30), with_tokens=False)
    notes = [finding.note for name, finding in check(tmp_path, told) if finding.part == "format"]
    assert notes == ["1; the next start upgrades it, check it again then"]

    assert list(rebuild(tmp_path, None, 1, told)) == [Rebuilt("docs", 30)]

    assert problems(tmp_path) == {}


async def require_whole(data_dir: Path, state: State) -> None:
    """Everything that `write` wrote is there, and is found."""
    catalog = await Catalog.open(data_dir)
    await catalog.started()
    docs = await catalog.get("docs")
    assert (await docs.info()).state is state
    assert (await docs.info()).passage_count == COUNT + 10
    page, _ = await docs.page("", COUNT + 20, 1 << 30, None, View.ID)
    names = {f"p{n:05}" for n in range(COUNT + 10)} - {"p00005"} | {"parent"}
    assert {each.id for each in page} == names
    found = await docs.search(embeddings(COUNT)[30:40], 1)
    assert [ids(row)[0] for row in found] == [f"p{n:05}" for n in range(30, 40)]
    found = await docs.search(embeddings(10, seed=3), 1)
    assert [ids(row)[0] for row in found] == [f"p{COUNT + n:05}" for n in range(10)]
    assert (await (await catalog.get("other")).info()).passage_count == 20
    await catalog.close()


async def test_a_backup_is_a_directory_like_the_one_it_was_made_of(
    data_dir: Path, tmp_path: Path
) -> None:
    to = tmp_path / "new" / "backup"

    copied = await asyncio.to_thread(backup, data_dir, to, told)

    assert [(each.name, each.passages, each.with_snapshot) for each in copied] == [
        ("docs", COUNT + 10, True),
        ("other", 20, False),
    ]
    assert [path.name for path in to.parent.iterdir()] == ["backup"]
    shutil.rmtree(data_dir)
    assert problems(to) == {}
    await require_whole(to, State.READY)


async def test_a_backup_has_its_snapshot_though_others_replace_it_meanwhile(
    tmp_path: Path,
) -> None:
    catalog = await Catalog.open(tmp_path / "data", snapshot_changes=500)
    docs = await catalog.create(spec())
    await docs.upsert(passages(COUNT), list(embeddings(COUNT)))
    await docs.settled()
    loop = asyncio.get_running_loop()
    folder = store_of(tmp_path / "data").parent
    saved = (folder / MANIFEST).read_bytes()

    async def replace_snapshot() -> None:
        await docs.delete(["p00005"])
        await docs.upsert(passages(600, COUNT), list(embeddings(600, seed=3)))
        await docs.settled()
        assert (folder / MANIFEST).read_bytes() != saved

    def at_the_first_copied_block(name: str) -> Progress:
        def progress(step: str, done: int, of: int) -> None:
            if step == "copy of the index" and (folder / MANIFEST).read_bytes() == saved:
                asyncio.run_coroutine_threadsafe(replace_snapshot(), loop).result()

        return progress

    to = tmp_path / "backup"
    copied = await asyncio.to_thread(backup, tmp_path / "data", to, at_the_first_copied_block)
    await catalog.close()

    assert [(each.passages, each.with_snapshot) for each in copied] == [(COUNT + 599, True)]
    assert (store_of(to).parent / MANIFEST).read_bytes() == saved
    assert problems(to) == {}
    catalog = await Catalog.open(to)
    await catalog.started()
    docs = await catalog.get("docs")
    assert (await docs.info()).state is State.READY
    asked = np.vstack([embeddings(600, seed=3)[:10], embeddings(COUNT)[5:6]])
    found = await docs.search(asked, 1)
    assert [ids(row)[0] for row in found[:10]] == [f"p{COUNT + n:05}" for n in range(10)]
    assert ids(found[10]) != ["p00005"]
    await catalog.close()


async def test_an_older_snapshot_that_somebody_put_back_is_not_backed_up(
    data_dir: Path, tmp_path: Path
) -> None:
    store = apsw.Connection(str(store_of(data_dir)))
    store.execute("UPDATE collection SET generation = generation + 1")
    store.close()

    copied = await asyncio.to_thread(backup, data_dir, tmp_path / "backup", told)

    assert [each.with_snapshot for each in copied] == [False, False]


async def test_a_backup_leaves_a_damaged_snapshot_behind(data_dir: Path, tmp_path: Path) -> None:
    [path] = store_of(data_dir).parent.glob("graph-*")
    path.write_bytes(path.read_bytes()[:-1] + b"\x5a")

    copied = await asyncio.to_thread(backup, data_dir, tmp_path / "backup", told)

    assert [each.with_snapshot for each in copied] == [False, False]
    assert problems(tmp_path / "backup").keys() == {("docs", "snapshot")}
    await require_whole(tmp_path / "backup", State.REBUILDING)


async def test_a_backup_of_a_catalog_in_use_has_what_was_answered_before_and_no_half_batches(
    tmp_path: Path,
) -> None:
    catalog = await Catalog.open(tmp_path / "data", snapshot_changes=500)
    docs = await catalog.create(spec())
    answered = 0
    stop = asyncio.Event()

    async def write_on() -> None:
        nonlocal answered
        while not stop.is_set():
            batch = passages(50, answered * 50)
            await docs.upsert(batch, list(embeddings(50, seed=answered)))
            answered += 1

    async def make_and_delete() -> None:
        while not stop.is_set():
            other = await catalog.create(spec("other"))
            await other.upsert(passages(20), list(embeddings(20)))
            await catalog.delete("other")

    writing = asyncio.gather(write_on(), make_and_delete())
    for number in range(8):
        await asyncio.sleep(0.1)
        before, to = answered, tmp_path / f"backup-{number}"
        copied = await asyncio.to_thread(backup, tmp_path / "data", to, told)
        counts = {each.name: each.passages for each in copied}
        assert counts["docs"] % 50 == 0
        assert counts["docs"] >= before * 50
        assert counts.get("other", 0) in (0, 20)
        assert {key for key in problems(to) if key[1] != "snapshot"} == set()
        shutil.rmtree(to)
    stop.set()
    await writing
    await catalog.close()


def test_a_backup_goes_to_a_new_or_empty_folder(data_dir: Path, tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    (full / "file").write_text("mine")
    empty.mkdir()

    with pytest.raises(FailedPrecondition, match="is not empty; name a new folder"):
        backup(data_dir, full, told)
    backup(data_dir, empty, told)

    assert [path.name for path in full.iterdir()] == ["file"]
    assert problems(empty) == {}


@pytest.mark.parametrize("to", ["", "backup", "collections/backup", "collections/../backup"])
def test_a_backup_into_the_data_directory_is_refused(data_dir: Path, to: str) -> None:
    before = sorted(data_dir.rglob("*"))

    with pytest.raises(FailedPrecondition, match="lies in the data directory; name a folder"):
        backup(data_dir, data_dir / to, told)

    assert sorted(data_dir.rglob("*")) == before


@pytest.mark.parametrize("to", ["/proc/backup", "/etc/hostname/backup", "/dev/null/a/b"])
def test_a_backup_to_where_nothing_can_be_made_is_refused(data_dir: Path, to: str) -> None:
    with pytest.raises(FailedPrecondition, match=f"{to} cannot be made: .*; name a folder"):
        backup(data_dir, Path(to), told)


def test_a_backup_of_a_damaged_store_is_refused_and_leaves_nothing(
    data_dir: Path, tmp_path: Path
) -> None:
    path = store_of(data_dir)
    path.write_bytes(b"\x5a" * path.stat().st_size)

    with pytest.raises(DataLoss):
        backup(data_dir, tmp_path / "to" / "backup", told)

    assert list((tmp_path / "to").iterdir()) == []


def test_a_backup_onto_a_full_disk_is_refused_and_leaves_nothing(
    data_dir: Path, disk: Disk
) -> None:
    disk.fill(leave=100_000)

    with pytest.raises(StorageFull):
        backup(data_dir, disk.path / "backup", told)

    assert [path.name for path in disk.path.iterdir() if path.name != "ballast"] == []
    disk.free()


@pytest.mark.parametrize(
    "command",
    [
        lambda path: list(check(path, told)),
        lambda path: list(rebuild(path, None, 1, told)),
        lambda path: backup(path, path.with_name("backup"), told),
    ],
)
def test_a_folder_that_is_no_data_directory_is_refused_and_left_as_it_is(
    tmp_path: Path, command: Callable[[Path], object]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    with pytest.raises(FailedPrecondition, match=r"it holds no catalog\.db"):
        command(folder)

    assert list(folder.iterdir()) == []


async def test_a_check_and_a_rebuild_are_refused_while_a_server_runs(data_dir: Path) -> None:
    catalog = await Catalog.open(data_dir)

    with pytest.raises(FailedPrecondition, match="in use by another server"):
        await asyncio.to_thread(lambda: list(check(data_dir, told)))
    with pytest.raises(FailedPrecondition, match="in use by another server"):
        await asyncio.to_thread(lambda: list(rebuild(data_dir, None, 1, told)))

    await catalog.close()


def test_a_rebuild_of_a_collection_that_is_not_there_is_refused(data_dir: Path) -> None:
    with pytest.raises(CollectionNotFound):
        list(rebuild(data_dir, "nowhere", 1, told))


def test_a_check_changes_nothing(data_dir: Path) -> None:
    before = contents(data_dir)
    list(check(data_dir, told))

    assert contents(data_dir) == before


def contents(data_dir: Path) -> dict[str, int]:
    """Return a digest of each file but the lock."""
    return {
        str(path.relative_to(data_dir)): hash(path.read_bytes())
        for path in data_dir.rglob("*")
        if path.is_file() and path.name != LOCK and not path.name.endswith(("-wal", "-shm"))
    }


def test_the_manifest_of_a_copied_snapshot_is_the_one_that_was_made(
    data_dir: Path, tmp_path: Path
) -> None:
    backup(data_dir, tmp_path / "backup", told)

    ours = json.loads((store_of(data_dir).parent / MANIFEST).read_text())
    theirs = json.loads((store_of(tmp_path / "backup").parent / MANIFEST).read_text())
    assert ours == theirs
    for kind in ("graph-*", "slots-*"):
        [our_file] = store_of(data_dir).parent.glob(kind)
        [their_file] = store_of(tmp_path / "backup").parent.glob(kind)
        assert our_file.read_bytes() == their_file.read_bytes()
