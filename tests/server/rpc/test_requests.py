import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import struct_pb2

from finesieve.v1 import passages_pb2, rerank_pb2, results_pb2, retrieval_pb2
from finesieve_server.batching.plan import Priority
from finesieve_server.errors import (
    BatchTooLarge,
    EmptyField,
    FinesieveError,
    InvalidArgument,
    TooLong,
)
from finesieve_server.index.records import Distance, HnswOptions, View
from finesieve_server.rpc import requests
from finesieve_server.rpc.passages import read_passages
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.embedder import Role
from finesieve_server.search.limits import Limits
from finesieve_server.search.pairs import LongPassage
from finesieve_server.search.retriever import Mode, Query, RetrievalOptions

LIMITS = Limits()


def passage(**fields: Any) -> passages_pb2.Passage:
    return passages_pb2.Passage(**{"id": "p", "text": "text", **fields})


def refused(read: Callable[[], object]) -> FinesieveError:
    with pytest.raises(FinesieveError) as refusal:
        read()
    return refusal.value


def test_a_passage_is_read_whole() -> None:
    message = passage(
        title="title",
        metadata={"year": 1999, "tags": ["a", "b"], "author": {"name": "x"}, "old": True},
        document_id="d",
        ordinal=3,
        parent_id="q",
        embedding=passages_pb2.Embedding(values=[1.0, 2.0]),
        context_only=True,
    )

    [read] = read_passages([message], LIMITS)

    assert (read.id, read.text, read.title) == ("p", "text", "title")
    assert read.metadata == {
        "year": 1999.0,
        "tags": ["a", "b"],
        "author": {"name": "x"},
        "old": True,
    }
    assert (read.document_id, read.ordinal, read.parent_id) == ("d", 3, "q")
    assert read.embedding is not None
    assert read.embedding.tolist() == [1.0, 2.0]
    assert read.context_only


def test_a_passage_without_embedding_has_none_while_an_empty_one_has_no_values() -> None:
    empty = passage(embedding=passages_pb2.Embedding())

    without, with_empty = read_passages([passage(), empty], LIMITS)

    assert without.embedding is None
    assert with_empty.embedding is not None
    assert with_empty.embedding.shape == (0,)


@pytest.mark.parametrize("id", ["x" * 256, "ü" * 128, "with space", "'; DROP TABLE x; --", "🙂"])
def test_ids_of_any_printable_text_are_taken(id: str) -> None:
    [read] = read_passages([passage(id=id)], LIMITS)

    assert read.id == id


@pytest.mark.parametrize("id", ["", "x" * 257, "ü" * 129, "a\nb", "a\x00", "\x7f", "a\x85b"])
def test_other_ids_are_refused_by_their_path(id: str) -> None:
    error = refused(lambda: list(read_passages([passage(), passage(id=id)], LIMITS)))

    assert isinstance(error, InvalidArgument)
    assert error.field == "passages[1].id"
    assert "1..256" in error.message or "control" in error.message


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_metadata_that_json_has_no_word_for_is_refused_by_its_path(number: float) -> None:
    metadata = struct_pb2.Struct()
    metadata.update({"a": {"b": [1, number]}})

    error = refused(lambda: list(read_passages([passage(metadata=metadata)], LIMITS)))

    assert error.field == "passages[0].metadata.a.b[1]"


def nested(depth: int, kind: type) -> dict[str, Any]:
    """Return fields of so many levels, the outermost one included; lists below it, or dicts."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value] if kind is list else {"k": value}
    return {"k": value}


@pytest.mark.parametrize("kind", [list, dict])
def test_metadata_nests_32_levels_and_no_deeper(kind: type) -> None:
    deepest = nested(32, kind)

    [read] = read_passages([passage(metadata=deepest)], LIMITS)
    error = refused(
        lambda: list(read_passages([passage(), passage(metadata=nested(33, kind))], LIMITS))
    )

    assert read.metadata == deepest
    assert isinstance(error, InvalidArgument)
    assert error.field == "passages[1].metadata"
    assert "32" in error.message


def test_the_path_of_a_field_has_up_to_256_characters() -> None:
    metadata = {"k" * 128: {"l" * 127: 1.0}, "m" * 256: 2.0}

    [read] = read_passages([passage(metadata=metadata)], LIMITS)

    assert read.metadata == metadata


@pytest.mark.parametrize(
    ("fields", "field", "limit"),
    [
        ({"document_id": "ü" * 129}, "passages[0].document_id", "256"),
        ({"parent_id": "x" * 257}, "passages[0].parent_id", "256"),
        ({"parent_id": "x" * 5_000_000}, "passages[0].parent_id", "256"),
        ({"metadata": {"k": "x" * 65_536}}, "passages[0].metadata", "65536"),
        ({"metadata": {"k": [None] * 20_000}}, "passages[0].metadata", "65536"),
        ({"metadata": {"k" * 257: 1}}, "passages[0].metadata", "256"),
        ({"metadata": {"k" * 128: {"k" * 128: 1}}}, "passages[0].metadata", "256"),
    ],
)
def test_what_a_passage_carries_along_is_bounded(
    fields: dict[str, Any], field: str, limit: str
) -> None:
    error = refused(lambda: list(read_passages([passage(**fields)], LIMITS)))

    assert isinstance(error, TooLong)
    assert error.field == field
    assert error.metadata == {"limit": limit}


def test_lists_have_a_least_and_a_largest_size() -> None:
    limits = Limits(max_passages=2, max_documents=2)

    assert isinstance(refused(lambda: read_passages([], limits)), EmptyField)
    assert isinstance(refused(lambda: requests.candidates([], limits)), EmptyField)
    too_many = refused(lambda: list(read_passages([passage()] * 3, limits)))
    assert isinstance(too_many, BatchTooLarge)
    assert too_many.metadata == {"limit": "2"}


@pytest.mark.parametrize("name", ["a", "a" * 64, "my-docs_2"])
def test_names_of_collections(name: str) -> None:
    assert requests.collection_name(name) == name


@pytest.mark.parametrize("name", ["A", "1a", "a" * 65, "a b", "../a", "a\n", "é", "_a", "a.b"])
def test_names_that_no_collection_has(name: str) -> None:
    error = refused(lambda: requests.collection_name(name, "name"))

    assert isinstance(error, InvalidArgument)
    assert error.field == "name"


def test_zero_is_the_default() -> None:
    assert requests.within("top_k", 0, 10, 1, 100) == 10
    assert requests.hnsw(passages_pb2.HnswOptions(), LIMITS) == HnswOptions(16, 200, 96)
    assert requests.rerank_options(rerank_pb2.RerankOptions(), "options", LIMITS) == (
        RerankOptions()
    )
    assert requests.view(0) is View.FULL
    assert requests.role(0) is Role.PASSAGE
    assert requests.distance(0) is None


def test_options_are_read() -> None:
    message = rerank_pb2.RerankOptions(
        model="m",
        max_passage_tokens=64,
        long_passage=rerank_pb2.LONG_PASSAGE_CHUNK,
        on_deadline=rerank_pb2.ON_DEADLINE_PARTIAL,
        priority=rerank_pb2.PRIORITY_BULK,
        min_probability=0.0,
        max_chunks=4,
        first_stage_weight=1.0,
    )

    assert requests.rerank_options(message, "options", LIMITS) == RerankOptions(
        model="m",
        max_passage_tokens=64,
        long_passage=LongPassage.CHUNK,
        partial=True,
        priority=Priority.BULK,
        min_probability=0.0,
        max_chunks=4,
        first_stage_weight=1.0,
    )
    assert requests.distance(passages_pb2.DISTANCE_L2) is Distance.L2


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("options.long_passage", {"long_passage": 9}),
        ("options.on_deadline", {"on_deadline": -1}),
        ("options.priority", {"priority": 3}),
        ("options.min_probability", {"min_probability": math.nan}),
        ("options.min_probability", {"min_probability": 1.5}),
        ("options.first_stage_weight", {"first_stage_weight": -0.1}),
        ("options.first_stage_weight", {"first_stage_weight": math.inf}),
        ("options.max_chunks", {"max_chunks": 65}),
    ],
)
def test_options_out_of_range_are_refused_by_their_path(field: str, fields: dict[str, Any]) -> None:
    message = rerank_pb2.RerankOptions(**fields)

    error = refused(lambda: requests.rerank_options(message, "options", LIMITS))

    assert isinstance(error, InvalidArgument)
    assert error.field == field


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("hnsw.m", {"m": 1}),
        ("hnsw.m", {"m": 129}),
        ("hnsw.ef_construction", {"ef_construction": 7}),
        ("hnsw.ef_construction", {"ef_construction": 4097}),
        ("hnsw.ef_search", {"ef_search": 4097}),
    ],
)
def test_a_graph_out_of_range_is_refused(field: str, fields: dict[str, int]) -> None:
    error = refused(lambda: requests.hnsw(passages_pb2.HnswOptions(**fields), LIMITS))

    assert error.field == field


def retrieval_options(**fields: Any) -> Callable[[], object]:
    message = results_pb2.RetrievalOptions(**fields)
    return lambda: requests.retrieval_options(
        message, "options", top_k=10, filter_message=None, view=View.ID, limits=LIMITS
    )


@pytest.mark.parametrize("ef_search", [1, 9, 4097, 2**32 - 1])
def test_ef_search_lies_between_top_k_and_its_limit(ef_search: int) -> None:
    error = refused(retrieval_options(ef_search=ef_search))

    assert isinstance(error, InvalidArgument)
    assert error.field == "options.ef_search"
    assert "10..4096" in error.message


@pytest.mark.parametrize(
    ("mode", "meant"),
    [
        ("RETRIEVAL_MODE_UNSPECIFIED", Mode.DENSE),
        ("RETRIEVAL_MODE_DENSE", Mode.DENSE),
        ("RETRIEVAL_MODE_LEXICAL", Mode.LEXICAL),
        ("RETRIEVAL_MODE_HYBRID", Mode.HYBRID),
    ],
)
def test_every_mode_of_the_contract_is_read(mode: str, meant: Mode) -> None:
    options = retrieval_options(mode=mode)()

    assert isinstance(options, RetrievalOptions)
    assert options.mode is meant


@pytest.mark.parametrize(
    ("read", "field"),
    [
        (requests.view, "view"),
        (requests.role, "role"),
        (requests.distance, "distance"),
    ],
)
def test_an_unknown_enum_value_is_refused_by_its_field(
    read: Callable[[int], object], field: str
) -> None:
    error = refused(lambda: read(99))

    assert isinstance(error, InvalidArgument)
    assert error.field == field
    assert "99" in error.message


def test_an_unknown_mode_is_invalid() -> None:
    assert isinstance(refused(retrieval_options(mode=77)), InvalidArgument)


def test_a_first_stage_score_of_zero_is_a_score() -> None:
    documents = [rerank_pb2.Document(text="a", first_stage_score=0.0), rerank_pb2.Document()]

    assert requests.candidates(documents, LIMITS) == [
        Candidate("a", "", 0.0),
        Candidate("", "", None),
    ]


def test_a_query_is_a_text_or_an_embedding() -> None:
    text = requests.query(retrieval_pb2.RetrievalQuery(text="", words="w"), "queries[0]")
    vector = requests.query(
        retrieval_pb2.RetrieveRequest(embedding=passages_pb2.Embedding(values=[1.0])), "query"
    )

    assert text == Query(text="", words="w")
    assert vector.embedding is not None
    assert vector.embedding.tolist() == [1.0]
    neither = refused(lambda: requests.query(retrieval_pb2.RetrievalQuery(), "queries[2]"))
    assert isinstance(neither, EmptyField)
    assert neither.field == "queries[2]"
