"""Turn embeddings into arrays and back by way of the wire format. Judge nothing.

A packed float field is its tag, its length, and the array's own little-endian bytes: copying those
is some ten times faster than converting the values one by one.
"""

import numpy as np
from numpy.typing import NDArray

from finesieve.v1 import passages_pb2

_TAG = bytes([passages_pb2.Embedding.VALUES_FIELD_NUMBER << 3 | 2])
_WIRE_FLOAT = np.dtype("<f4")


def array_of(embedding: passages_pb2.Embedding) -> NDArray[np.float32]:
    """Return the values in order. Shape: (values,)."""
    header = _header(len(embedding.values))
    message = embedding.SerializeToString()
    if len(message) != len(header) + 4 * len(embedding.values):
        # Empty, or from a sender whose contract has fields that ours has not.
        return np.array(embedding.values, np.float32)
    values = np.frombuffer(message, _WIRE_FLOAT, offset=len(header))
    return values.astype(np.float32, copy=False)


def embedding_of(values: NDArray[np.float32]) -> passages_pb2.Embedding:
    """Return the message that holds these values. Shape: (values,)."""
    payload = values.astype(_WIRE_FLOAT, copy=False).tobytes()
    return passages_pb2.Embedding.FromString(_header(len(values)) + payload)


def _header(count: int) -> bytes:
    length = 4 * count
    digits = bytearray(_TAG)
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits)
