"""Check embeddings, and score them: cosine, dot product, or minus the squared L2 distance.

Under cosine every vector is brought to length one first, so that the dot product is the cosine.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finesieve_server.errors import InvalidArgument
from finesieve_server.index.records import Distance, Embedding

Matrix = NDArray[np.float32]
Scores = NDArray[np.float32]

MAX_LENGTH = 1e18  # a longer vector's square leaves float32, and hnswlib then compares infinities


def checked(
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
    for row in np.flatnonzero(~np.isfinite(lengths)):
        value = int(np.flatnonzero(~np.isfinite(exact[row]))[0])
        raise InvalidArgument(
            fields[row], f"holds {exact[row, value]} at position {value}; values must be finite"
        )
    if distance is Distance.COSINE:
        for row in np.flatnonzero(lengths == 0):
            raise InvalidArgument(fields[row], "has length zero, for which no cosine exists")
        exact /= lengths[:, None]
    else:
        for row in np.flatnonzero(lengths > MAX_LENGTH):
            raise InvalidArgument(
                fields[row], f"has length {lengths[row]:.3g}; at most {MAX_LENGTH:g} is allowed"
            )
    return exact.astype(np.float32)


def products(distance: Distance, queries: Matrix, vectors: Matrix) -> Scores:
    """Return the scores of every query with every vector, as fast as they can be had.

    Shape: (queries, vectors). The last bits depend on the company: good to choose by, not to give.
    """
    if distance is not Distance.L2:
        return queries @ vectors.T
    scores = np.empty((len(queries), len(vectors)), np.float32)
    for row, query in enumerate(queries):
        # The difference itself: q² + x² - 2qx loses what tells near vectors apart.
        difference = vectors - query
        np.einsum("ij,ij->i", difference, difference, out=scores[row])
    return -scores


def scores_of(distance: Distance, query: Matrix, vectors: Matrix) -> Scores:
    """Return the score of one query with each vector: the same bits in any company."""
    exact, query = vectors.astype(np.float64), query.astype(np.float64)
    if distance is Distance.L2:
        exact -= query
        return -np.einsum("ij,ij->i", exact, exact).astype(np.float32)
    return np.einsum("ij,j->i", exact, query).astype(np.float32)
