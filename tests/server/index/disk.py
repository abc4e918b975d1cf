"""Make a disk full for real: a small file system, or where none can be mounted, limited files."""

import functools
import os
import resource
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

SIZE_BYTES = 8 << 20
LEAST_LIMIT_BYTES = 16 << 10  # what pytest itself writes must fit


class Disk(Protocol):
    """A place that can be full."""

    path: Path

    def fill(self, leave: int = 0) -> None:
        """From here on there is no room but for about so many bytes."""

    def free(self) -> None:
        """Give the room back."""


class SmallDisk:
    """A file system of 8 MB."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self.path.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={SIZE_BYTES}"]
        subprocess.run(["mount", *options, "tmpfs", self.path], check=True, capture_output=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def fill(self, leave: int = 0) -> None:
        with (self.path / "ballast").open("wb", buffering=0) as file:
            room = os.statvfs(self.path)
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            file.truncate(max(0, room.f_bavail * room.f_frsize - leave))

    def free(self) -> None:
        (self.path / "ballast").unlink()


class LimitedFiles:
    """A folder while no file may be written beyond a limit, which needs no rights."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def __enter__(self) -> Self:
        self.path.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.free()

    def fill(self, leave: int = 0) -> None:
        _, hard = self._usual
        resource.setrlimit(resource.RLIMIT_FSIZE, (LEAST_LIMIT_BYTES + leave, hard))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._usual)


@functools.cache
def can_mount() -> bool:
    """Say whether this user may mount a file system here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with SmallDisk(Path(folder) / "disk"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False
