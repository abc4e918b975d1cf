"""Start every engine that takes part, and say of the others why they do not."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import finesieve, infinity, sentence_transformers
from benchmarks.peers.checkpoint import prepare
from benchmarks.peers.peer import Peer, Unavailable
from benchmarks.workload import RerankCall

# By name, whose adapter runs it.
RIVALS = {
    name: adapter
    for adapter in (infinity, sentence_transformers)
    for name in adapter.CONFIGURATIONS
}


@dataclass(frozen=True, slots=True)
class Lineup:
    """The engines that run, and by name why the others do not."""

    finesieve: finesieve.Finesieve
    peers: list[Peer]  # finesieve first
    missing: dict[str, str]


@asynccontextmanager
async def running(
    models: str, checkpoint: Path | None, sample: Sequence[RerankCall]
) -> AsyncIterator[Lineup]:
    """Run all engines beside each other, warm; those that nobody asks anything sleep."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(finesieve.running(models))
        await server.warm_up(sample)
        lineup = Lineup(server, [server], {})
        try:
            forms = _forms(checkpoint)
        except Unavailable as error:
            lineup.missing.update(dict.fromkeys(RIVALS, str(error)))
            print(f"the other engines: {error}", flush=True)
            yield lineup
            return
        for name, adapter in RIVALS.items():
            try:
                adapter.ENVIRONMENT.install()
                print(f"Starting {name}", flush=True)
                peer = await stack.enter_async_context(adapter.running(name, forms))
                await peer.warm_up(sample)
                lineup.peers.append(peer)
            except Unavailable as error:
                lineup.missing[name] = str(error)
                print(f"{name} {error}", flush=True)
        yield lineup


def _forms(checkpoint: Path | None) -> dict[str, Path]:
    """Return the checkpoint as the engines read it. Raises Unavailable."""
    if checkpoint is None:
        raise Unavailable("left out: needs --checkpoint")
    sentence_transformers.ENVIRONMENT.install()
    return prepare(checkpoint, sentence_transformers.ENVIRONMENT)
