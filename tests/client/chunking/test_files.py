import errno
import os
from pathlib import Path

import pytest

from finesieve_client.chunking.files import find_files
from finesieve_client.chunking.names import document_id_of, passage_id


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with some files below it."""
    monkeypatch.chdir(tmp_path)
    documents = ("b.md", "a.txt", "sub/c.html")
    others = ("sub/.hidden.md", ".git/d.md", "x.png", "y.png", "code.py")
    for name in (*documents, *others):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Path("docs")


def test_a_folder_gives_its_documents_in_order_and_says_what_it_leaves_aside(folder: Path) -> None:
    found = find_files([folder])

    assert list(found.files) == ["docs/a.txt", "docs/b.md", "docs/sub/c.html"]
    assert found.left_aside == {".png": 2, ".py": 1}


def test_patterns_choose_among_a_folders_files(folder: Path) -> None:
    assert list(find_files([folder], ["*.py", "sub/*"]).files) == [
        "docs/code.py",
        "docs/sub/c.html",
    ]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(folder: Path) -> None:
    assert list(find_files([folder / "code.py"]).files) == ["docs/code.py"]


def test_a_file_named_twice_is_one_document(folder: Path) -> None:
    found = find_files([folder, folder / "a.txt", Path("./docs/../docs/b.md")])

    assert list(found.files) == ["docs/a.txt", "docs/b.md", "docs/sub/c.html"]
    assert found.refused == []


def test_two_files_of_one_id_clash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere/deep").mkdir(parents=True)
    Path("elsewhere/a.txt").write_text("other")
    monkeypatch.chdir(folder)
    Path("out").symlink_to("../elsewhere/deep")

    found = find_files([Path("a.txt"), Path("out/../a.txt")])

    assert found.files == {"a.txt": Path("a.txt")}
    assert found.refused == [(Path("out/../a.txt"), "would have the same id as a.txt")]


def test_a_link_to_a_folder_is_not_followed(folder: Path) -> None:
    (folder / "loop").symlink_to(folder.resolve())

    assert list(find_files([folder]).files) == ["docs/a.txt", "docs/b.md", "docs/sub/c.html"]


def test_links_in_a_circle_are_files_like_others(folder: Path) -> None:
    (folder / "c.md").symlink_to("d.md")
    (folder / "d.md").symlink_to("c.md")

    assert len(find_files([folder, folder]).files) == 5


def test_a_folder_that_cannot_be_read_costs_what_is_below_it_alone(folder: Path) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(17):  # deeper than a path may be long
        os.mkdir("a" * 250, dir_fd=at)
        below = os.open("a" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)

    found = find_files([folder])

    assert list(found.files) == ["docs/a.txt", "docs/b.md", "docs/sub/c.html"]
    ((path, reason),) = found.refused
    assert path.name == "a" * 250
    assert reason == os.strerror(errno.ENAMETOOLONG)


def test_what_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_files([folder / "nothing.md"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("docs/a.md", "docs/a.md"),
        ("./docs//a.md", "docs/a.md"),
        ("docs/../a.md", "a.md"),
        ("../../a.md", "/srv/a.md"),
        ("/srv/docs/a.md", "/srv/docs/a.md"),
        ("/srv/my/docs/docs/a.md", "docs/a.md"),
        ("tài liệu/ế.md", "tài liệu/ế.md"),
    ],
)
def test_a_document_is_named_by_its_path(
    path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: "/srv/my/docs")

    assert document_id_of(Path(path)) == name


@pytest.mark.parametrize(
    "path", ["x" * 300, "ế" * 100 + ".md", "a\nb.md", "a\udcff.md", "é" * 115 + "/b"]
)
def test_a_path_that_is_no_id_keeps_its_end_and_fits(path: str) -> None:
    name = document_id_of(Path(path))
    other = document_id_of(Path("y" + path))

    assert len(passage_id(name, 2, 9_999_999).encode()) <= 256
    assert name.isprintable()
    assert name.endswith(path[-1])
    assert name != other
    assert document_id_of(Path(path)) == name
