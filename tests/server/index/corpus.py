"""Make passages and embeddings that look like a corpus: clusters, seeded."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.records import (
    CollectionSpec,
    Distance,
    Found,
    HnswOptions,
    JsonValue,
    Passage,
)

DIMENSION = 32


def spec(
    name: str = "docs", distance: Distance = Distance.COSINE, dimension: int = DIMENSION
) -> CollectionSpec:
    return CollectionSpec(name, "model", "fingerprint", dimension, distance, HnswOptions(), False)


def embeddings(count: int, seed: int = 0, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Return a mixture of 50 clusters. Shape: (count, dimension)."""
    centres = np.random.default_rng(1).standard_normal((50, dimension))
    random = np.random.default_rng(seed)
    noise = random.standard_normal((count, dimension))
    return (centres[random.integers(0, 50, count)] + 0.7 * noise).astype(np.float32)


def passages(count: int, start: int = 0, **fields: JsonValue) -> list[Passage]:
    """Return passages p00000, p00001, ... whose metadata holds their number and `fields`."""
    return [
        Passage(
            id=f"p{number:05}",
            text=f"text of {number}",
            title=f"title {number}",
            metadata={"number": number, **fields},
            document_id=f"d{number // 10}",
            ordinal=number % 10,
        )
        for number in range(start, start + count)
    ]


def ids(found: Sequence[Found]) -> list[str]:
    return [each.passage.id for each in found]


def nearest_ids(corpus: NDArray[np.float32], query: NDArray[np.float32], top_k: int) -> list[str]:
    """Return what an exact search by cosine over passages(len(corpus)) must find."""
    wide = corpus.astype(np.float64)
    cosines = wide @ query / np.linalg.norm(wide, axis=1)
    return [f"p{number:05}" for number in np.argsort(-cosines)[:top_k]]
