"""Build the drivers of all languages, start them, and carry orders to them and outcomes back.

Of a language this knows the scripts `build-driver`, `driver` and `check` in its folder, and the
tools that they need.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from clients.conformance.conformance_pb2 import Order, Outcome

CLIENTS = Path(__file__).resolve().parents[1]
SCRIPT_LIMIT_S = 1800.0
ORDER_LIMIT_S = 60.0
END_LIMIT_S = 10.0
LENGTH = struct.Struct(">I")


class ScriptError(Exception):
    """A script of a language failed; says so with what it printed."""


class DriverError(Exception):
    """A driver died, hung, or spoke nonsense; says so with its stderr."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A command of a toolchain; the least version that will do, and how it tells its own.

    Where none is named, any will do.
    """

    command: str
    least: tuple[int, ...] = ()
    version_option: str = "--version"

    def lacking(self) -> str:
        """Say what is wrong with it on this machine; nothing where it will do."""
        if shutil.which(self.command) is None:
            return f"no {self.command}"
        if not self.least:
            return ""
        printed = subprocess.run(
            [self.command, self.version_option],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout
        # Maven prints in bold, whose escape sequence has a digit after its bracket.
        found = re.search(r"(?<!\[)\d+(\.\d+)*", printed)
        if found and tuple(map(int, found[0].split("."))) >= self.least:
            return ""
        wanted = ".".join(map(str, self.least))
        return f"{self.command} {found[0] if found else printed!r} is older than {wanted}"


@dataclass(frozen=True, slots=True)
class Language:
    """A client's language; `name` is its folder, and the one in its user agent."""

    name: str
    tools: tuple[Tool, ...] = ()

    def lacking(self) -> str:
        """Say what this machine lacks to build its driver; nothing where it can be built."""
        return ", ".join(filter(None, (tool.lacking() for tool in self.tools)))

    @property
    def folder(self) -> Path:
        """Return where its client stands, with the scripts."""
        return CLIENTS / self.name


# The oldest versions that the clients' own libraries are built with.
LANGUAGES = (
    Language("python"),
    Language("go", (Tool("go", (1, 21), "version"),)),  # fetches the newer one that go.mod asks for
    Language("typescript", (Tool("node", (20,)), Tool("npm", (9,)))),
    Language("java", (Tool("javac", (17,)), Tool("mvn", (3, 8)))),
    Language("rust", (Tool("cargo", (1, 88)),)),
    Language("cpp", (Tool("cmake", (3, 20)), Tool("grpc_cpp_plugin"))),
)


class Driver:
    """A driver's process, started at its first order, and again after it died or hung.

    `variables` are those of its environment, in place of this process's own.
    """

    def __init__(
        self, command: Path, log_path: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._log_path = log_path
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._exchanges = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def carry_out(self, order: Order, limit_s: float = ORDER_LIMIT_S) -> Outcome:
        """Return what came of the order. Raises DriverError, also after `limit_s`."""
        process = self._process = self._process or self._start()
        exchange = self._exchanges.submit(_exchange, process, order)
        try:
            return exchange.result(limit_s)
        except TimeoutError:
            raise self._failure(order, f"gave no outcome within {limit_s:g} s") from None
        except (OSError, EOFError):
            raise self._failure(order, "died") from None
        except Exception as error:
            raise self._failure(order, f"gave an outcome that cannot be read: {error!r}") from error
        except BaseException:  # such as Ctrl-C, which must not wait for the exchange
            self._kill()
            raise

    def resident_bytes(self) -> int:
        """Return how much memory the process holds, as /proc tells."""
        assert self._process is not None, "no order yet"
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        (resident_kib,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(resident_kib) * 1024

    def close(self) -> None:
        """End the process as its input ends. Raises DriverError where that does not end it."""
        self._exchanges.shutdown()
        if self._process is None:
            return
        stdin, stdout = _pipes(self._process)
        stdin.close()
        try:
            status = self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise self._failure(None, f"did not end within {END_LIMIT_S:g} s") from None
        finally:
            stdout.close()
        if status:
            raise self._failure(None, "ended badly")

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            with self._log_path.open("wb") as log:
                return subprocess.Popen(
                    [self._command],
                    env=environment() if self._variables is None else self._variables,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
        except OSError as error:
            raise DriverError(f"{self._command}: {error}") from error

    def _failure(self, order: Order | None, what: str) -> DriverError:
        """End the process and say what happened to it."""
        status = self._kill()
        when = f"carrying out {order.name!r}" if order else "its input ended"
        log = self._log_path.read_text(encoding="utf-8", errors="replace")
        end = "\n".join(f"    {line}" for line in log.splitlines()[-30:])
        return DriverError(
            f"{self._command} {what}; {when}; exit status {status}; its standard error:\n{end}"
        )

    def _kill(self) -> int:
        """End the process, and return its exit status."""
        assert self._process is not None
        self._process.kill()
        status = self._process.wait()
        self._process = None
        return status


def run(script: Path) -> None:
    """Run `build-driver` or `check` of a language. Raises ScriptError."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:  # whose end nobody waits for
        try:
            status = subprocess.run(
                [script],
                check=False,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=SCRIPT_LIMIT_S,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ScriptError(f"{script}: {error}") from error
        log.seek(0)
        if status:
            raise ScriptError(f"{script}: exit status {status}\n{log.read()}")


def environment() -> dict[str, str]:
    """Return what scripts run in; `PYTHON` is the interpreter that runs the suite."""
    return {**os.environ, "PYTHON": sys.executable}


def _exchange(process: "subprocess.Popen[bytes]", order: Order) -> Outcome:
    stdin, stdout = _pipes(process)
    content = order.SerializeToString()
    stdin.write(LENGTH.pack(len(content)) + content)
    stdin.flush()
    (length,) = LENGTH.unpack(_read(stdout, LENGTH.size))
    return Outcome.FromString(_read(stdout, length))


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
