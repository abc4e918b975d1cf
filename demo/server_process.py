"""Start the real server as a process of its own on a free port, and stop it as an operator would.

The demo, the end-to-end tests and the benchmarks use it. It reads the server's log only for the
line that says where it listens; whether it serves is asked through gRPC health.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from finesieve_client import Client

COMMAND = Path(sys.executable).parent / "finesieve-server"
HOST = "127.0.0.1"
POLL_S = 0.02


class ServerProcessError(Exception):
    """The server did not start or did not stop as it should; says so with the end of its log."""


class ServerProcess:
    """A running server. As a context manager it stops it, and raises if that was not clean."""

    def __init__(
        self,
        data_dir: Path,
        log_path: Path,
        options: Sequence[str] = (),
        command: Sequence[str] = (str(COMMAND),),
    ) -> None:
        self.data_dir = data_dir
        self.log_path = log_path
        self.port = 0
        self.metrics_port = 0
        self._end_is_known = False  # killed on purpose, or raised already
        places = ["--data-dir", str(data_dir), "--host", HOST]
        places += ["--port", "0", "--metrics-port", "0"]  # any free ones
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *places, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is for us: we stop the server, in our order
            )

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_serving(self, timeout_s: float = 60.0) -> Self:
        """Return once health says SERVING; raises ServerProcessError if the process ends first."""
        give_up = time.monotonic() + timeout_s
        while not self._read_ready_line():
            self._wait_a_little(give_up)
        with Client(self.address) as client:
            client.wait_ready(give_up - time.monotonic())
        return self

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask the server to drain and stop (SIGTERM); return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._error(f"did not stop within {timeout_s:.0f} s of SIGTERM") from None

    def kill(self) -> int:
        """End the server at once, as a crash would (SIGKILL); return its exit code."""
        self._end_is_known = True
        self._process.kill()
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        exit_code = self.stop()
        if exit_code != 0 and not self._end_is_known and exception is None:
            raise self._error(f"ended with exit code {exit_code}")

    def _read_ready_line(self) -> bool:
        for line in self.log_path.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"ready"' not in line:
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # half written, or not a line of ours
                continue
            if record.get("event") == "ready":
                self.port = int(record["port"])
                self.metrics_port = int(record["metrics_port"] or 0)  # null where there are none
        return self.port > 0

    def _wait_a_little(self, give_up: float) -> None:
        try:
            exit_code = self._process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > give_up:
                self.kill()
                raise self._error("was not serving in time") from None
        else:
            self._end_is_known = True
            raise self._error(f"ended with exit code {exit_code} before it served")

    def _error(self, what_happened: str) -> ServerProcessError:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        end = "\n".join(f"    {line}" for line in lines[-10:])
        return ServerProcessError(
            f"The server {what_happened}. The end of its log, {self.log_path}:\n{end}"
        )
