import numpy as np
import pytest

from finesieve_client import metadata_of, passage
from finesieve_client.passages import struct_message


def test_metadata_comes_back_as_it_went_in() -> None:
    metadata = {
        "year": 2020,
        "share": 0.25,
        "tags": ["a", "b"],
        "author": {"name": "Nguyễn", "alive": True, "died": None},
    }

    made = passage("p1", "text", metadata=metadata)

    assert metadata_of(made) == metadata
    assert isinstance(metadata_of(made)["year"], int)


def test_what_a_passage_is_made_of_is_the_contracts_own() -> None:
    made = passage(
        "p1", "text", title="Title", document_id="d", ordinal=3, parent_id="p0", context_only=True
    )

    assert (made.id, made.text, made.title) == ("p1", "text", "Title")
    assert (made.document_id, made.ordinal, made.parent_id) == ("d", 3, "p0")
    assert made.context_only
    assert not made.HasField("embedding")
    assert not made.HasField("metadata")


def test_an_embedding_may_be_an_array() -> None:
    made = passage("p1", "text", embedding=np.array([0.5, -1.0], np.float32))

    assert list(made.embedding.values) == [0.5, -1.0]


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"size": 2**53 + 1}, r"metadata.size is \d+; .* write it as a string"),
        ({"a": {"b": [1, b"x"]}}, r"metadata.a.b\[1\] is a bytes"),
        ({"a": float("inf")}, "metadata.a is inf; a number is finite"),
        ({1: "x"}, "metadata has the key 1; keys are strings"),
    ],
)
def test_metadata_that_json_cannot_hold_is_refused_by_its_path(
    metadata: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        struct_message(metadata)


@pytest.mark.parametrize("ordinal", [-1, 2**32])
def test_an_ordinal_that_is_no_position_is_refused(ordinal: int) -> None:
    with pytest.raises(ValueError, match="ordinal is"):
        passage("p1", "text", ordinal=ordinal)
