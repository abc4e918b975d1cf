"""Fixtures for every test: the real server process, and how often a seeded test repeats."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from demo.server_process import ServerProcess


class StartServer(Protocol):
    """Start a server with these options, on a data directory of its own unless one is given."""

    def __call__(self, *options: str, data_dir: Path | None = None) -> ServerProcess: ...


def pytest_configure() -> None:
    # A shell's background job is started with SIGINT ignored, and would pass that on to the
    # commands that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="repeat seeded tests in full (hours)")


@pytest.hookimpl(tryfirst=True)  # before `-m soak` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "repetitions" in item.fixturenames:
            item.add_marker("soak")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Yield one server with the bundled models, shared by all tests: name collections apart."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder / "data", folder / "server.log") as process:
        yield process.wait_until_serving()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Yield a function that starts servers; each is stopped at the end, and must stop cleanly."""
    with ExitStack() as running:
        count = 0

        def start(*options: str, data_dir: Path | None = None) -> ServerProcess:
            nonlocal count
            count += 1
            log_path = tmp_path / f"server-{count}.log"
            process = ServerProcess(data_dir or tmp_path / f"data-{count}", log_path, options)
            return running.enter_context(process).wait_until_serving()

        yield start


@pytest.fixture
def repetitions(request: pytest.FixtureRequest) -> Iterator[Callable[[int, int], int]]:
    """Yield a function that chooses: this many in the ordinary suite, that many under --soak."""
    chosen: list[int] = []

    def choose(short: int, full: int) -> int:
        chosen.append(full if request.config.getoption("--soak") else short)
        return chosen[-1]

    yield choose
    _write_line(request, f"{chosen} repetitions")


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Yield a function that takes what a test counted, to be printed whether it passes or not."""
    lines: list[str] = []
    yield lines.append
    for line in lines:
        _write_line(request, line)


def _write_line(request: pytest.FixtureRequest, line: str) -> None:
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"{os.linesep}{request.node.name}: {line}")
