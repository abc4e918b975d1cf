from pathlib import Path

import pytest

from demo.server_process import ServerProcess, ServerProcessError
from finesieve_client import Client
from tests.conftest import StartServer


def test_a_server_is_ready_on_a_free_port_and_stops_cleanly(start_server: StartServer) -> None:
    server = start_server("--models", "none")

    with Client(server.address) as client:
        assert list(client.all_collections()) == []
    assert server.stop() == 0


def test_two_servers_run_side_by_side(start_server: StartServer) -> None:
    one = start_server("--models", "none")
    other = start_server("--models", "none")

    assert one.address != other.address


def test_a_second_server_on_the_same_data_is_refused_and_says_why(
    start_server: StartServer, tmp_path: Path
) -> None:
    start_server("--models", "none", data_dir=tmp_path / "shared")

    with pytest.raises(ServerProcessError, match="shared"):
        start_server("--models", "none", data_dir=tmp_path / "shared")


def test_a_server_that_cannot_start_says_why_with_its_log(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", tmp_path / "server.log", ["--port", "far too high"])

    with pytest.raises(ServerProcessError, match=r"server\.log[\s\S]*port"):
        server.wait_until_serving()


def test_a_killed_server_is_not_mistaken_for_one_that_failed(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", tmp_path / "server.log", ["--models", "none"]) as server:
        server.wait_until_serving()

        assert server.kill() == -9
