"""The largest passage that is taken: every call that reads it gets it."""

from typing import Any

import pytest

from finesieve.v1 import passages_pb2, retrieval_pb2, search_pb2
from finesieve_server.rpc.passages import MAX_METADATA_BYTES
from tests.e2e.requests import (
    BATCH,
    CREATE,
    GET,
    LIST,
    RETRIEVE,
    SEARCH,
    UPSERT,
    assert_invalid,
    values,
)
from tests.server.rpc.wire import Wire

pytestmark = pytest.mark.usefixtures("alive")

WITH_EMBEDDING = passages_pb2.PASSAGE_VIEW_WITH_EMBEDDING
MAX_PASSAGE_CHARS = 65_536
MAX_DEPTH = 32


def passage_of(depth: int, metadata_bytes: int) -> passages_pb2.Passage:
    """Return a passage that is as large as it may be, metadata aside."""
    passage = passages_pb2.Passage(
        id="i" * 256,
        text="\U0001f41f" * MAX_PASSAGE_CHARS,
        title="\U0001f420" * MAX_PASSAGE_CHARS,
        document_id="d" * 256,
        parent_id="p" * 256,
        ordinal=2**32 - 1,
        embedding=values(1.0),
    )
    innermost = passage.metadata
    for _ in range(depth - 1):
        innermost = innermost.fields["k"].struct_value
    innermost.fields["k"].string_value = ""
    passage.metadata["fill"] = ""
    # The lengths of a long string take up to three bytes each, those of an empty one one byte.
    passage.metadata["fill"] = "f" * (metadata_bytes - passage.metadata.ByteSize() - 6)
    assert passage.metadata.ByteSize() == metadata_bytes
    return passage


def upsert(collection: str, passage: passages_pb2.Passage) -> retrieval_pb2.UpsertPassagesRequest:
    return retrieval_pb2.UpsertPassagesRequest(collection=collection, passages=[passage])


async def test_the_largest_passage_is_read_by_every_call(wire: Wire) -> None:
    name = "largest"
    largest = passage_of(MAX_DEPTH, MAX_METADATA_BYTES)
    query: dict[str, Any] = {"collection": name, "view": WITH_EMBEDDING}
    create = retrieval_pb2.CreateCollectionRequest(name=name)
    await wire.ask(CREATE, create, retrieval_pb2.CreateCollectionResponse)
    await wire.ask(UPSERT, upsert(name, largest), retrieval_pb2.UpsertPassagesResponse)

    got = await wire.ask(
        GET,
        retrieval_pb2.GetPassagesRequest(ids=[largest.id], **query),
        retrieval_pb2.GetPassagesResponse,
    )
    listed = await wire.ask(
        LIST, retrieval_pb2.ListPassagesRequest(**query), retrieval_pb2.ListPassagesResponse
    )
    retrieved = await wire.ask(
        RETRIEVE,
        retrieval_pb2.RetrieveRequest(embedding=largest.embedding, **query),
        retrieval_pb2.RetrieveResponse,
    )
    in_batch = await wire.ask(
        BATCH,
        retrieval_pb2.BatchRetrieveRequest(
            queries=[retrieval_pb2.RetrievalQuery(embedding=largest.embedding)], **query
        ),
        retrieval_pb2.BatchRetrieveResponse,
    )
    searched = await wire.ask(
        SEARCH,
        search_pb2.SearchRequest(query="fish", skip_rerank=True, **query),
        search_pb2.SearchResponse,
    )

    assert list(got.passages) == [largest]
    assert list(listed.passages) == [largest]
    assert [hit.passage for hit in retrieved.hits] == [largest]
    assert [hit.passage for hit in in_batch.results[0].hits] == [largest]
    assert [hit.hit.passage for hit in searched.hits] == [largest]


async def test_a_larger_or_deeper_one_is_refused(filled: None, wire: Wire) -> None:
    larger = passage_of(MAX_DEPTH, MAX_METADATA_BYTES + 1)
    deeper = passage_of(MAX_DEPTH + 1, MAX_METADATA_BYTES)

    too_large = await wire.call(UPSERT, upsert("bad-input", larger))
    too_deep = await wire.call(UPSERT, upsert("bad-input", deeper))

    assert_invalid(too_large, "TOO_LONG", "passages[0].metadata")
    assert_invalid(too_deep, "INVALID_FIELD", "passages[0].metadata")
