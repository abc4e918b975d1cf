"""Check embeddings before they are compared, and bring them to the form in which they are.

Under cosine every vector has length one from here on, so that a dot product is the cosine.
"""

from collections.abc import Sequence

import numpy as np

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import Distance, Embedding, Matrix

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
