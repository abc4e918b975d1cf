"""Choose hits that are relevant and unlike each other: maximal marginal relevance. Pure.

Source: Carbonell & Goldstein 1998, doi:10.1145/290941.291025.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finesieve_server.index.records import Embedding, Matrix
from finesieve_server.search.hits import Retrieved, SearchHit

# Less spread than this share of the values is the rounding of equal ones: they say nothing.
_ALIKE = 1e-6
_LARGEST = 1e300  # a difference of two such is still a number


def diversify(hits: Sequence[SearchHit], weight: float, count: int) -> list[SearchHit]:
    """Return `count` of the hits in the order in which they were chosen.

    Those that have no score come last, as they stood. Every hit has its embedding; what replaced
    its children and has none stands for their mean.
    """
    scored = [(hit, hit.relevance) for hit in hits if hit.relevance is not None]
    unscored = [hit for hit in hits if hit.relevance is None]
    if not scored:
        return unscored[:count]
    relevance = np.array([relevance for _, relevance in scored])
    directions = np.stack([_direction(hit.retrieved) for hit, _ in scored])
    chosen = choose(relevance, directions, weight, count)
    return [*(scored[index][0] for index in chosen), *unscored][:count]


def choose(
    relevance: NDArray[np.float64], directions: Matrix, weight: float, count: int
) -> list[int]:
    """Return the indexes of `count` rows, each the best beside those before it.

    Best is the greatest weight * relevance - (1 - weight) * similarity to the most similar one
    before; of equals, the first. Both count from 0 to 1 over these rows, so that a weight means
    the same whatever the models: relevance from the least to the greatest, similarity from the
    cosine of the row least like the first choice to that of the same direction.
    Directions: (rows, dimension), each of length 1 or 0.
    """
    relevant = weight * _from_0_to_1(relevance)
    chosen = [int(np.argmax(relevant))]
    least, spread = _range(directions @ directions[chosen[0]])
    similar = np.full(len(relevance), -np.inf)  # to the most similar one chosen
    while len(chosen) < min(count, len(relevance)):
        cosines = directions @ directions[chosen[-1]]
        similar = np.maximum(similar, (cosines - least) / spread)
        marginal = relevant - (1 - weight) * similar
        marginal[chosen] = -np.inf
        chosen.append(int(np.argmax(marginal)))
    return chosen


def _from_0_to_1(relevance: NDArray[np.float64]) -> NDArray[np.float64]:
    # A dot product of huge embeddings may be infinite.
    finite = np.nan_to_num(relevance, posinf=_LARGEST, neginf=-_LARGEST)
    least, spread = _range(finite)
    scaled: NDArray[np.float64] = (finite - least) / spread
    return scaled


def _range(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the least value and how far the greatest is from it."""
    spread = float(np.ptp(values))
    alike = spread <= _ALIKE * float(np.abs(values).max())
    return float(values.min()), np.inf if alike else spread


def _direction(retrieved: Retrieved) -> Embedding:
    own = retrieved.passage.embedding
    if own is not None:
        return _unit(own)
    found = (each.passage.embedding for _, each in retrieved.found)
    return _unit(np.mean([_unit(each) for each in found if each is not None], axis=0))


def _unit(vector: Embedding) -> Embedding:
    """Return the direction alone; a vector of zeros has none, and is like nothing."""
    wide = vector.astype(np.float64)  # large float32 overflow when squared
    unit: Embedding = (wide / (np.linalg.norm(wide) or 1.0)).astype(np.float32)
    return unit
