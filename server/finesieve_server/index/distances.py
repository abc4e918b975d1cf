"""Check embeddings before they are compared, and bring them to the form in which they are.

Under cosine every vector has length one from here on, so that a dot product is the cosine.
"""

from collections.abc import Sequence

import numpy as np

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import CollectionSpec, Distance, Embedding, Matrix, Passage

MAX_LENGTH = 1e18  # a longer vector's square leaves float32, and hnswlib then compares infinities


def comparable(
    embeddings: Sequence[Embedding], fields: Sequence[str], dimension: int, distance: Distance
) -> Matrix:
    """Return embeddings as a matrix ready to compare, one row each.

    Raises InvalidArgument naming the field of the first that cannot be compared.
    """
    for embedding, field in zip(embeddings, fields, strict=True):
        if embedding.shape != (dimension,):
            raise InvalidArgument(
                field, f"has {embedding.size} values; this collection's have {dimension}"
            )
    if not embeddings:
        return np.empty((0, dimension), np.float32)
    # The sums of squares are taken in float64, where no float32 overflows or vanishes.
    with np.errstate(invalid="ignore"):  # a NaN may be one that signals; it is refused below
        exact = np.stack(embeddings).astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    for row in np.flatnonzero(~np.isfinite(lengths)).tolist():
        position = int(np.flatnonzero(~np.isfinite(exact[row]))[0])
        raise InvalidArgument(
            fields[row],
            f"holds {exact[row, position]} at position {position}; values must be finite",
        )
    if distance is Distance.COSINE:
        for row in np.flatnonzero(lengths == 0).tolist():
            raise InvalidArgument(fields[row], "has length zero, for which no cosine exists")
        exact /= lengths[:, None]
    else:
        for row in np.flatnonzero(lengths > MAX_LENGTH).tolist():
            raise InvalidArgument(
                fields[row], f"has length {lengths[row]:.3g}; at most {MAX_LENGTH:g} is allowed"
            )
    return exact.astype(np.float32)


def comparable_passages(
    passages: Sequence[Passage], vectors: Sequence[Embedding | None], spec: CollectionSpec
) -> tuple[list[Embedding | None], list[int], Matrix]:
    """Return each passage's embedding, which of them are found by it, and those ready to compare.

    A context_only passage has none. Raises InvalidArgument naming passages[i].embedding.
    """
    embeddings = [
        None if passage.context_only or vector is None else np.asarray(vector, np.float32)
        for passage, vector in zip(passages, vectors, strict=True)
    ]
    found = [position for position, each in enumerate(passages) if not each.context_only]
    fields = [f"passages[{position}].embedding" for position in found]
    given: list[Embedding] = []
    for position, field in zip(found, fields, strict=True):
        embedding = embeddings[position]
        if embedding is None:
            raise InvalidArgument(field, "is missing")
        given.append(embedding)
    return embeddings, found, comparable(given, fields, spec.dimension, spec.distance)


def query_fields(queries: int) -> list[str]:
    """Return what errors call the queries of a caller who has no names for them."""
    return [f"queries[{row}].embedding" for row in range(queries)]
