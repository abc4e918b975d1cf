"""Find the documents among files and folders, and say which ones were left aside."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from finesieve_client.chunking.names import document_id_of
from finesieve_client.chunking.reading import FORMATS


@dataclass(slots=True)
class Found:
    """The documents, each once, by their ids; and how many files of a folder were of other kinds.

    `clashing`: files whose id another file has already.
    """

    files: dict[str, Path] = field(default_factory=dict)
    clashing: list[tuple[Path, Path]] = field(default_factory=list)
    left_aside: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path) -> None:
        """Add a file, unless it is there already."""
        first = self.files.setdefault(document_id_of(path), path)
        if first.resolve() != path.resolve():
            self.clashing.append((path, first))


def find_files(paths: Sequence[Path], include: Sequence[str] = ()) -> Found:
    """Return the files named and the documents below the folders named, in order.

    Of a folder: files whose suffix is known, or whose name or path in it matches one of `include`;
    hidden ones never, and links to folders are not followed. Raises OSError for what is not there.
    """
    found = Found()
    for path in paths:
        if not path.is_dir():
            path.stat()
            found.add(path)
            continue
        for file in _files_below(path):
            if _is_included(file.relative_to(path), include):
                found.add(file)
            else:
                found.left_aside[file.suffix.lower() or file.name] += 1
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(at, name) for name in sorted(files) if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _is_included(file: Path, include: Sequence[str]) -> bool:
    if not include:
        return file.suffix.lower() in FORMATS
    return any(fnmatchcase(name, each) for name in (file.name, file.as_posix()) for each in include)
