"""Blend the scores of both stages. Pure."""

import numpy as np
from numpy.typing import NDArray

# Less spread than this share of the scores is the rounding of equal ones.
_ALIKE = 1e-9


def blend(
    logits: NDArray[np.float64], first_stage: NDArray[np.float64], weight: float
) -> NDArray[np.float64]:
    """Return weight * first stage + (1 - weight) * logits, both standardised over the candidates.

    Neither stage alone is right: a cross-encoder often loses to a strong first stage, and what
    either says is only comparable between the candidates of one query.
    """
    return weight * _standardised(first_stage) + (1 - weight) * _standardised(logits)


def _standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and population deviation 1; scores that are all alike say nothing, 0."""
    deviation = scores.std()
    if deviation <= _ALIKE * np.abs(scores).max():
        return np.zeros_like(scores)
    standardised: NDArray[np.float64] = (scores - scores.mean()) / deviation
    return standardised
