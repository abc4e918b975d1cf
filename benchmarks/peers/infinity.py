"""infinity-emb, a server for embeddings and reranking, over its own HTTP endpoint."""

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from benchmarks.peers.environment import FOLDER, Environment, last_line, offline
from benchmarks.peers.peer import Unavailable
from benchmarks.workload import RerankCall

# Its torch engine rewrites the model with BetterTransformer, which left optimum at 2 and asks for
# transformers before 4.49. It needs numpy 1, which pyarrow after 21 no longer loads beside.
ENVIRONMENT = Environment(
    "infinity-emb",
    (
        "infinity-emb[server,torch,optimum]==0.0.78",
        "optimum==1.24.0",
        "pyarrow==21.0.0",
        "torch==2.15.0",
        "transformers==4.48.3",
    ),
)
CONFIGURATIONS = {  # precision of the checkpoint, options
    "infinity torch fp32": ("fp32", "--engine", "torch", "--dtype", "float32"),
    "infinity torch int8": ("fp32", "--engine", "torch", "--dtype", "int8"),
    "infinity optimum fp32": ("fp32", "--engine", "optimum"),
    "infinity optimum int8": ("int8", "--engine", "optimum"),
}
HOST = "127.0.0.1"
START_TIMEOUT_S = 180.0
POLL_S = 0.2
STOP_TIMEOUT_S = 10.0


class Infinity:
    """A running server."""

    def __init__(self, name: str, pid: int, session: aiohttp.ClientSession) -> None:
        self.name = name
        self.pid = pid
        self._session = session

    async def warm_up(self, calls: Sequence[RerankCall]) -> None:
        for call in calls:
            await self.rerank(call)

    async def rerank(self, call: RerankCall) -> list[float]:
        asked = {"model": "bench", "query": call.query, "documents": call.texts, "raw_scores": True}
        try:
            async with self._session.post("/rerank", json=asked) as answer:
                if not answer.ok:
                    said = last_line(await answer.text())
                    raise Unavailable(f"answered {answer.status}: {said}")
                results = (await answer.json())["results"]
        except aiohttp.ClientError as error:
            raise Unavailable(f"did not answer: {type(error).__name__} {error}") from error
        scores = {each["index"]: float(each["relevance_score"]) for each in results}
        return [scores[index] for index in range(len(call.texts))]


@asynccontextmanager
async def running(name: str, forms: Mapping[str, Path]) -> AsyncIterator[Infinity]:
    """Serve one of CONFIGURATIONS on the checkpoint in the precision that it reads."""
    precision, *options = CONFIGURATIONS[name]
    with tempfile.TemporaryDirectory() as folder:
        # It writes the graph that it has optimized beside the model.
        model = shutil.copytree(forms[precision], Path(folder) / "model")
        port = _free_port()
        options += ["--model-id", str(model), "--served-model-name", "bench", "--device", "cpu"]
        options += ["--host", HOST, "--port", str(port), "--log-level", "warning"]
        options += ["--no-model-warmup"]  # we warm up with calls like those that are measured
        log_path = FOLDER / f"{name.replace(' ', '-')}.log"
        async with _process(options, log_path) as process, _session(port) as session:
            give_up = time.monotonic() + START_TIMEOUT_S
            while not await _is_ready(session):
                if process.returncode is not None or time.monotonic() > give_up:
                    raise Unavailable(f"does not start: {last_line(log_path.read_text())}")
                await asyncio.sleep(POLL_S)
            yield Infinity(name, process.pid, session)


@asynccontextmanager
async def _process(
    options: Sequence[str], log_path: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            ENVIRONMENT.bin / "infinity_emb",
            "v2",
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=offline(),
        )
    try:
        yield process
    finally:
        await _stop(process)


def _session(port: int) -> aiohttp.ClientSession:
    # As many connections as there are callers; a call may take as long as it takes.
    return aiohttp.ClientSession(
        f"http://{HOST}:{port}",
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def _is_ready(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/health") as answer:
            return answer.ok
    except aiohttp.ClientConnectionError:
        return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
