"""Lay framed inputs side by side as a model reads them: padded to the longest."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from finesieve_server.runtime.tokenizer import Framed

# What encoders read, by the names that transformers gives them.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def fill(batch: Sequence[Framed], inputs: Mapping[str, NDArray[np.int64]], pad_id: int) -> None:
    """Write a batch into arrays of shape (batch, longest), those of `INPUTS` that there are."""
    lengths = np.array([len(framed) for framed in batch])
    longest = int(lengths.max())
    column = np.arange(longest)
    present = column < lengths[:, None]  # (batch, longest)
    ids = inputs["input_ids"]
    ids.fill(pad_id)
    ids[present] = np.concatenate([framed.ids for framed in batch])
    if "attention_mask" in inputs:
        inputs["attention_mask"][:] = present
    if "token_type_ids" in inputs:
        starts = np.array([framed.second_start for framed in batch])
        inputs["token_type_ids"][:] = present & (column >= starts[:, None])
