"""Start processes to kill, soon: forked from one that has imported all of the server already.

That one has no threads and has not touched gRPC, so that what is forked is as if it were new.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from finesieve_server.app import main

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.forked", "tests.server.index.writer_process"])


def start(work: Callable[..., None], *arguments: object, output: Path) -> BaseProcess:
    """Run the work in a process of its own, what it prints going to the file `output`."""
    output.write_bytes(b"")  # nothing of an earlier process is taken for this one's
    process = _context.Process(target=_run, args=(work, arguments, output), daemon=True)
    process.start()
    return process


def start_server(*options: str, output: Path) -> BaseProcess:
    """Run `finesieve-server` with these options."""
    return start(_serve, *options, output=output)


def _run(work: Callable[..., None], arguments: tuple[object, ...], output: Path) -> None:
    with output.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    work(*arguments)


def _serve(*options: str) -> None:
    sys.argv = ["finesieve-server", *options]
    main()
