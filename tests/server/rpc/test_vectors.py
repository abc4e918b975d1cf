import numpy as np
import pytest

from finesieve.v1 import passages_pb2
from finesieve_server.rpc.vectors import array_of, embedding_of

VECTORS = [
    np.array([], np.float32),
    np.array([0.5], np.float32),
    np.arange(31, dtype=np.float32),  # 124 bytes: a length of one digit
    np.arange(32, dtype=np.float32),  # 128 bytes: of two
    np.linspace(-1, 1, 4096, dtype=np.float32),  # of three
    np.array([np.nan, np.inf, -np.inf, -0.0], np.float32),
]


@pytest.mark.parametrize("vector", VECTORS, ids=len)
def test_a_vector_is_read_as_protobuf_writes_it(vector: np.ndarray) -> None:
    message = passages_pb2.Embedding(values=vector.tolist())

    assert array_of(message).tobytes() == vector.tobytes()
    assert array_of(message).dtype == np.float32


@pytest.mark.parametrize("vector", VECTORS, ids=len)
def test_a_vector_is_written_as_protobuf_reads_it(vector: np.ndarray) -> None:
    assert np.array(embedding_of(vector).values, np.float32).tobytes() == vector.tobytes()


def test_values_that_are_not_packed_are_read() -> None:
    one_by_one = b"\x0d\x00\x00\x80\x3f" + b"\x0d\x00\x00\x00\x40"  # 1.0, then 2.0

    assert array_of(passages_pb2.Embedding.FromString(one_by_one)).tolist() == [1.0, 2.0]


def test_fields_of_a_later_contract_do_not_get_into_the_values() -> None:
    message = passages_pb2.Embedding(values=[1.0, 2.0]).SerializeToString()
    later = b"\x10\x07" + message + b"\x1a\x04abcd"

    assert array_of(passages_pb2.Embedding.FromString(later)).tolist() == [1.0, 2.0]


def test_a_row_of_a_matrix_is_written() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T  # rows are not contiguous

    assert list(embedding_of(matrix[1]).values) == [1.0, 4.0]
