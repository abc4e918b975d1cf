"""A pair is known again by what it is and whose: nothing less, nothing more."""

from pathlib import Path

import numpy as np
import pytest

from finesieve_server.runtime.artifact import read_artifact
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.runtime.tokenizer import Framed
from finesieve_server.search.pair_keys import PairKeys

BUNDLED = Path(__file__).parents[3] / "models" / "minilm-l6-cross-encoder"
KEYS = PairKeys()


@pytest.fixture(scope="module")
def model() -> CrossEncoder:
    return CrossEncoder(read_artifact(BUNDLED), threads=1)


def pair(*ids: int, second_start: int = 1) -> Framed:
    return Framed(np.array(ids, np.int32), second_start)


def test_the_same_pair_of_one_tenant_has_one_key(model: CrossEncoder) -> None:
    [first, second] = KEYS.keys(model, "t", [pair(1, 2, 3), pair(1, 2, 3)])

    assert first == second == KEYS.keys(model, "t", [pair(1, 2, 3)])[0]


def test_another_pair_segment_tenant_or_process_has_another_key(model: CrossEncoder) -> None:
    keys = [
        *KEYS.keys(
            model,
            "t",
            [
                pair(1, 2, 3),
                pair(1, 2, 3, second_start=2),
                pair(1, 2),
                pair(1, 2, 3, 0),
                pair(3, 2, 1),
            ],
        ),
        *KEYS.keys(model, "u", [pair(1, 2, 3)]),
        *KEYS.keys(model, "", [pair(1, 2, 3)]),
        *PairKeys().keys(model, "t", [pair(1, 2, 3)]),
    ]

    assert len(set(keys)) == len(keys)
