"""Give every command the same connection options, and turn every expected failure into one line.

Exit codes: 0 done, 1 failed, 2 asked wrongly, 130 interrupted.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from finesieve_client.async_client import AsyncClient
from finesieve_client.beir import BadFolder
from finesieve_client.cli.terminal import complain
from finesieve_client.client import Client
from finesieve_client.connection import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Tls
from finesieve_client.errors import (
    DeadlineExceeded,
    FinesieveError,
    Internal,
    NotFound,
    Unavailable,
)
from finesieve_client.extras import MissingExtra
from finesieve_client.rag.completion import LlmError
from finesieve_client.rows import DamagedFile

Arguments = ParamSpec("Arguments")

PANEL = "Connection"
FAILED, MISUSED, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True, slots=True)
class Session:
    """How this run of the command reaches its server, and how it answers."""

    server: str
    tls: Tls | None
    token: str
    timeout_s: float
    as_json: bool
    wait_s: float = 0.0

    def wait(self) -> None:
        """Return once the server takes calls, where the caller asked to wait for that."""
        if not self.wait_s:
            return
        try:
            with self.client() as client:
                client.wait_ready(self.wait_s)
        except DeadlineExceeded as error:
            complain(f"{error.message}; --wait SECONDS waits longer")
            raise typer.Exit(FAILED) from error

    def client(self) -> Client:
        """Open a connection."""
        return Client(self.server, tls=self.tls, token=self.token, timeout_s=self.timeout_s)

    def async_client(self) -> AsyncClient:
        """Open a connection for asyncio."""
        return AsyncClient(self.server, tls=self.tls, token=self.token, timeout_s=self.timeout_s)


def connect(
    server: Annotated[
        str,
        typer.Option(
            envvar="FINESIEVE_SERVER",
            metavar="HOST:PORT",
            help="The server to ask.",
            rich_help_panel=PANEL,
        ),
    ] = DEFAULT_TARGET,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.001, metavar="SECONDS", help="Limit of each call.", rich_help_panel=PANEL
        ),
    ] = DEFAULT_TIMEOUT_S,
    wait: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Wait so long for a server that is starting.",
            rich_help_panel=PANEL,
        ),
    ] = 0.0,
    tls: Annotated[
        bool, typer.Option("--tls", help="Speak TLS; --ca implies it.", rich_help_panel=PANEL)
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM certificates to trust instead of the system's.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The client's PEM certificate.", rich_help_panel=PANEL),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The PEM key of --cert.", rich_help_panel=PANEL),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with a bearer token.", rich_help_panel=PANEL),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Answer as JSON on standard output.")
    ] = False,
) -> Session:
    """Declare the options that every command has."""
    files = Tls(root_certificates=ca, client_certificate=cert, client_key=key)
    return Session(
        server=server,
        tls=files if tls or files != Tls() else None,
        token=token_file.read_text(encoding="utf-8").strip() if token_file else "",
        timeout_s=timeout,
        as_json=json,
        wait_s=wait,
    )


def with_session(
    function: Callable[Concatenate[Session, Arguments], None],
) -> Callable[..., None]:
    """Return a command: `function`'s own parameters and the connection's."""
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = list(inspect.signature(connect).parameters.values())

    def command(**arguments: Any) -> None:
        options = {parameter.name: arguments.pop(parameter.name) for parameter in shared}
        with failures_as_lines(options["server"]):
            session = connect(**options)
            session.wait()
            function(session, **arguments)  # type: ignore[call-arg]

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own + shared]
    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    vars(command)["__signature__"] = inspect.Signature(parameters)
    return command


@contextmanager
def failures_as_lines(server: str) -> Iterator[None]:
    """Say what failed in one line on standard error, and end with its exit code."""
    try:
        yield
    except FinesieveError as error:
        complain(advice(error, server))
        raise typer.Exit(FAILED) from error
    except (BadFolder, DamagedFile, LlmError, MissingExtra) as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    except BrokenPipeError:
        # Whoever read our output has enough of it; Python would complain again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        raise typer.Exit(FAILED) from error
    except ValueError as error:
        complain(str(error))
        raise typer.Exit(MISUSED) from error
    except KeyboardInterrupt:
        complain("interrupted")
        raise typer.Exit(INTERRUPTED) from None


def advice(error: FinesieveError, server: str) -> str:
    """Return what happened and what to do about it."""
    match error:
        case Unavailable() if not error.reason:
            return (
                f"no server answers at {server}; start one with `finesieve-server`, name another "
                f"with --server HOST:PORT, or wait for it with --wait 60 ({cause(error.message)})"
            )
        case Unavailable():
            return f"{error.message}; try again in a moment"
        case DeadlineExceeded():
            return f"{error.message}; --timeout SECONDS gives more time"
        case NotFound() if error.reason == "COLLECTION_NOT_FOUND":
            return f"{error.message}; `finesieve collections list` shows what there is"
        case Internal() if error.request_id not in error.message:
            return f"{error.message} (request {error.request_id})"
    return error.message


def cause(message: str) -> str:
    """Return the end of what gRPC says of a connection that failed, after all it went through."""
    return re.split(r"last error: |ipv[46]:\S+: ", message)[-1].rstrip(".) ")
