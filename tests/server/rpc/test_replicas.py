"""What a replica believes of who asks it: nothing, unless a certificate says that it is ours."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from finesieve.v1 import rerank_pb2
from finesieve_server.errors import Unavailable
from finesieve_server.index.catalog import Catalog
from finesieve_server.rpc.replicas import Replicas, ReplicaTls
from finesieve_server.rpc.serving import Tls
from finesieve_server.rpc.visit import passed_on
from finesieve_server.search.call import Call
from finesieve_server.telemetry import Metrics
from tests.server.rpc.parts import serving_over
from tests.server.rpc.test_tenants import Witness

CERTIFICATES = Path(__file__).parent / "certificates"
REQUEST = rerank_pb2.RerankRequest(query="q", documents=[rerank_pb2.Document(text="text")])


def pem(name: str) -> bytes:
    return (CERTIFICATES / name).read_bytes()


@asynccontextmanager
async def replica(folder: Path, witness: Witness, tls: Tls | None) -> AsyncIterator[str]:
    """Serve as role rerank does; give the address."""
    catalog = await Catalog.open(folder)
    serving = serving_over(catalog, reranker=witness, tls=tls, tenant_of=passed_on)
    port = await serving.start()
    await serving.set_ready()
    yield f"localhost:{port}"
    await serving.stop()
    await catalog.close()


async def ask(target: str, tls: ReplicaTls | None) -> Metrics:
    metrics = Metrics()
    replicas = Replicas(target, metrics, tls)
    try:
        by = time.monotonic() + 10
        await replicas.rerank(REQUEST, Call(by, tenant="acme"), by)
    finally:
        await replicas.close()
    return metrics


async def test_a_server_that_shows_its_certificate_is_believed_whose_call_it_is(
    tmp_path: Path,
) -> None:
    witness = Witness()
    served = Tls(pem("server.pem"), pem("server.key"), client_ca=pem("authority.pem"))
    async with replica(tmp_path, witness, served) as target:
        own = ReplicaTls(pem("authority.pem"), pem("client.pem"), pem("client.key"))

        metrics = await ask(target, own)

    assert witness.tenants == ["acme"]
    assert metrics.registry.get_sample_value("finesieve_replica_calls_total", {"status": "OK"}) == 1
    assert metrics.registry.get_sample_value("finesieve_replica_call_duration_seconds_count") == 1


@pytest.mark.parametrize("encrypted", [False, True])
async def test_who_shows_no_certificate_is_not(tmp_path: Path, encrypted: bool) -> None:
    witness = Witness()
    served = Tls(pem("server.pem"), pem("server.key")) if encrypted else None
    async with replica(tmp_path, witness, served) as target:
        await ask(target, ReplicaTls(pem("authority.pem")) if encrypted else None)

    assert witness.tenants == ["default"]


async def test_an_outage_is_logged_once_with_what_grpc_says_of_it() -> None:
    replicas = Replicas("ipv4:127.0.0.1:1", Metrics())
    with capture_logs() as lines:
        for _ in range(3):
            by = time.monotonic() + 10
            with pytest.raises(Unavailable):
                await replicas.rerank(REQUEST, Call(by), by)
    await replicas.close()

    [line] = lines
    assert line["event"] == "rerank replica not reached"
    assert "127.0.0.1:1" in line["detail"]
