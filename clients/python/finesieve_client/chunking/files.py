"""Find the documents among files and folders, and say which ones were left aside."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from finesieve_client.chunking.names import document_id_of, shown
from finesieve_client.chunking.reading import FORMATS


@dataclass(slots=True)
class Found:
    """The documents, each once, by their ids; and how many files of a folder were of other kinds.

    `refused`: files whose id another file has already and folders that cannot be read, and why.
    """

    files: dict[str, Path] = field(default_factory=dict)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    left_aside: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path) -> None:
        """Add a file, unless it is there already."""
        first = self.files.setdefault(document_id_of(path), path)
        if os.path.realpath(first) != os.path.realpath(path):
            self.refused.append((path, f"would have the same id as {shown(first)}"))

    def refuse(self, error: OSError) -> None:
        """Add a folder that cannot be read."""
        self.refused.append((Path(error.filename), error.strerror or str(error)))


def find_files(paths: Sequence[Path], include: Sequence[str] = ()) -> Found:
    """Return the files named and the documents below the folders named, in order.

    Of a folder: files whose suffix is known, or whose name or path in it matches one of `include`;
    hidden ones never, and links to folders are not followed. A folder that cannot be read costs
    what is below it alone. Raises OSError for what is not there.
    """
    found = Found()
    for path in paths:
        if not path.is_dir():
            path.stat()
            found.add(path)
            continue
        for file in _files_below(path, found.refuse):
            if _is_included(file.relative_to(path), include):
                found.add(file)
            else:
                found.left_aside[shown(file.suffix.lower() or file.name)] += 1
    return found


def _files_below(folder: Path, refuse: Callable[[OSError], None]) -> Iterator[Path]:
    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(at, name) for name in sorted(files) if not name.startswith("."))


def _is_included(file: Path, include: Sequence[str]) -> bool:
    if not include:
        return file.suffix.lower() in FORMATS
    return any(fnmatchcase(name, each) for name in (file.name, file.as_posix()) for each in include)
