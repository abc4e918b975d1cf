"""finesieve itself, through gRPC, with its defaults, save that it keeps no scores."""

import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc.aio

from benchmarks.peers.peer import Unavailable
from benchmarks.workload import RerankCall
from demo.server_process import ServerProcess
from finesieve.v1 import rerank_pb2_grpc


class Finesieve:
    """A running server."""

    name = "finesieve"

    def __init__(self, server: ServerProcess, channel: grpc.aio.Channel) -> None:
        self.pid = server.pid
        self._server = server
        self._stub: rerank_pb2_grpc.RerankServiceAsyncStub = rerank_pb2_grpc.RerankServiceStub(
            channel
        )

    async def warm_up(self, calls: Sequence[RerankCall]) -> None:
        for call in calls:
            await self.rerank(call)

    async def rerank(self, call: RerankCall) -> list[float]:
        try:
            answer = await self._stub.Rerank(call.to_request())
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"answered {error.code().name}: {error.details()}") from error
        scores = {each.index: each.score.logit for each in answer.results}
        return [scores[index] for index in range(len(call.documents))]

    async def positions(self) -> tuple[float, float]:
        """Return the positions computed so far, (text, padding), from the server's metrics."""
        address = f"http://{self._server.address.partition(':')[0]}:{self._server.metrics_port}"
        async with aiohttp.ClientSession(address) as session, session.get("/metrics") as answer:
            lines = await answer.text()
        text, padding = (
            sum(
                float(value)
                for value in re.findall(
                    rf'^finesieve_tokens_total{{kind="{kind}".*}} (\S+)$', lines, re.MULTILINE
                )
            )
            for kind in ("text", "padding")
        )
        return text, padding


@asynccontextmanager
async def running(models: str) -> AsyncIterator[Finesieve]:
    """Serve these models ("bundled", or folders) from an empty data folder."""
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "server.log"
        options = ["--models", models, "--score-cache-mib", "0"]
        with ServerProcess(Path(folder) / "data", log_path, options) as server:
            server.wait_until_serving()
            async with grpc.aio.insecure_channel(server.address) as channel:
                yield Finesieve(server, channel)
