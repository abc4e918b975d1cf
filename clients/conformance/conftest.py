"""Which languages are tested, and the server that all their clients speak to."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import grpc
import pytest

from clients.conformance.client import Client
from clients.conformance.conformance_pb2 import Connection
from clients.conformance.corpus import LARGE, PASSAGES
from clients.conformance.drivers import LANGUAGES, Driver, Language, ScriptError, run
from demo.server_process import ServerProcess
from finesieve_client import Client as PythonClient
from tests.client.scripted_server import Answer, ScriptedServer

BY_NAME = {language.name: language for language in LANGUAGES}
LEFT_OUT = pytest.StashKey[dict[str, str]]()
CHOSEN = pytest.StashKey[list[Language]]()
FIGURES = pytest.StashKey[list[str]]()


class Connect(Protocol):
    """Make a client for a target; `how` is the rest of conformance.proto's Connection."""

    def __call__(self, target: str, **how: Any) -> Client: ...


class Serve(Protocol):
    """Make a scripted server, on a port where none has been before."""

    def __call__(
        self, answers: Mapping[str, Answer], credentials: grpc.ServerCredentials | None = None
    ) -> ScriptedServer: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--language", action="append", choices=BY_NAME, help="test this language alone; repeatable"
    )
    parser.addoption(
        "--stream", type=int, default=2_000, help="reranks of the long stream (100000 in full)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    asked = config.getoption("--language")
    left_out = {language.name: language.lacking() for language in LANGUAGES}
    config.stash[LEFT_OUT] = {} if asked else {name: why for name, why in left_out.items() if why}
    config.stash[CHOSEN] = [
        BY_NAME[name] for name in asked or BY_NAME if name not in config.stash[LEFT_OUT]
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.stash[CHOSEN]
    # Python's are `make check`.
    checked = [language for language in chosen if (language.folder / "check").exists()]
    for fixture, languages in {"language": chosen, "checked": checked}.items():
        if fixture in metafunc.fixturenames:
            names = [language.name for language in languages]
            metafunc.parametrize(fixture, languages, ids=names, scope="session")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was tested and what was left out, so that a green run claims no more than it did."""
    for line in config.stash[FIGURES]:
        terminalreporter.write_line(line)
    names = ", ".join(language.name for language in config.stash[CHOSEN])
    terminalreporter.write_line(f"Clients tested: {names}")
    for name, why in config.stash[LEFT_OUT].items():
        terminalreporter.write_line(f"LEFT OUT: {name} ({why})", yellow=True)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that takes what a test measured, to be printed at the end."""
    return lambda line: request.config.stash[FIGURES].append(f"{request.node.name}: {line}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Yield the one real server, with the bundled models, shared by all languages."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder / "data", folder / "server.log") as process:
        yield process.wait_until_serving()


@pytest.fixture(scope="session")
def animals(server: ServerProcess) -> str:
    """Store the corpus, for reading alone, and return its collection's name."""
    with PythonClient(server.address) as python:
        python.create_collection("animals")
        python.upsert_passages("animals", PASSAGES)
    return "animals"


@pytest.fixture(scope="session")
def large(server: ServerProcess) -> str:
    """Store what one answer cannot hold, and return its collection's name."""
    with PythonClient(server.address) as python:
        python.create_collection("large", caller_embeds=True, dimension=2)
        python.upsert_passages("large", LARGE)
    return "large"


@pytest.fixture(scope="session")
def driver(language: Language, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Yield the language's driver, built."""
    try:
        run(language.folder / "build-driver")
    except ScriptError as error:
        pytest.fail(str(error), pytrace=False)  # each test fails with it, in one line
    log_path = tmp_path_factory.mktemp(language.name) / "driver.log"
    with Driver(language.folder / "driver", log_path) as built:
        yield built


@pytest.fixture(scope="session")
def serve() -> Serve:
    """Return a function that makes scripted servers.

    Drivers keep their clients: one that knows a target as unreachable would not try it at once.
    """
    ports: set[int] = set()

    def make(
        answers: Mapping[str, Answer], credentials: grpc.ServerCredentials | None = None
    ) -> ScriptedServer:
        server = ScriptedServer(answers, credentials)
        while server.port in ports:
            server = ScriptedServer(answers, credentials)
        ports.add(server.port)
        return server

    return make


@pytest.fixture(scope="session")
def connect(driver: Driver) -> Connect:
    """Return a function that makes the language's client for any server."""

    def make(target: str, **how: Any) -> Client:
        return Client(driver, Connection(target=target, **how))

    return make


@pytest.fixture(scope="session")
def client(connect: Connect, server: ServerProcess) -> Client:
    """Return the language's client for the real server."""
    return connect(server.address)
