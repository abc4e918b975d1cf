"""Write to a collection without end, telling each acknowledged operation: the process to kill.

Operation n is the same in every process, so that who kills this one knows what must be there.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.catalog import Catalog
from finesieve_server.index.filters import Match
from finesieve_server.index.records import Passage
from tests.server.index.corpus import DIMENSION, spec

IDS = 3000
SNAPSHOT_CHANGES = 1000  # often, so that kills meet snapshots


@dataclass(frozen=True, slots=True)
class Operation:
    """Passages to upsert, ids to delete, a bucket to delete: one of the three.

    A bucket is a document too: what is upserted may take the place of all of it.
    """

    upserted: tuple[str, ...] = ()
    replaces: bool = False
    deleted: tuple[str, ...] = ()
    bucket: int | None = None


def operation(number: int) -> Operation:
    random = np.random.default_rng(number)
    if number < 4:  # enough for a graph
        share = IDS // 4
        return Operation(tuple(f"p{n}" for n in range(number * share, (number + 1) * share)))
    chosen = random.choice(IDS, size=int(random.integers(1, 200)), replace=False)
    names = tuple(f"p{n}" for n in chosen.tolist())
    kind = random.integers(8)
    if kind == 0:
        return Operation(bucket=int(random.integers(40)))
    if kind == 1:
        return Operation(deleted=names)
    if kind == 2:
        in_one = tuple(name for name in names if bucket_of(name) == bucket_of(names[0]))
        return Operation(in_one, replaces=True)
    return Operation(names)


def apply(state: dict[str, int], number: int) -> dict[str, int]:
    """Return which operation wrote each passage, after one more."""
    done = operation(number)
    buckets = set(map(bucket_of, done.upserted)) if done.replaces else {done.bucket}
    gone = {*done.deleted, *(id_ for id_ in state if bucket_of(id_) in buckets)}
    kept = {id_: writer for id_, writer in state.items() if id_ not in gone}
    return kept | dict.fromkeys(done.upserted, number)


def bucket_of(id_: str) -> int:
    return int(id_[1:]) % 40


def embedding(id_: str, number: int) -> NDArray[np.float32]:
    random = np.random.default_rng((number, int(id_[1:])))
    return random.standard_normal(DIMENSION).astype(np.float32)


def run(data_dir: Path, number: int) -> None:
    asyncio.run(write(data_dir, number))


async def write(data_dir: Path, number: int) -> None:
    catalog = await Catalog.open(data_dir, snapshot_changes=SNAPSHOT_CHANGES)
    names = [collection.spec.name for collection in await catalog.page("", 1)]
    collection = await catalog.get("docs") if names else await catalog.create(spec())
    while True:
        todo = operation(number)
        if todo.upserted:
            await collection.upsert(
                [
                    Passage(
                        id_,
                        text=f"by {number}",
                        metadata={"bucket": bucket_of(id_), "by": number},
                        document_id=f"d{bucket_of(id_)}",
                    )
                    for id_ in todo.upserted
                ],
                [embedding(id_, number) for id_ in todo.upserted],
                {"key": [f"read by {number}".encode()] * len(todo.upserted)},
                replace_documents=todo.replaces,
            )
        elif todo.deleted:
            await collection.delete(todo.deleted)
        else:
            await collection.delete_where(Match("bucket", [todo.bucket]))
        print(f"done {number}", flush=True)  # noqa: T201
        number += 1
