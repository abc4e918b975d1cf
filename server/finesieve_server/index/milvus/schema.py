"""Say how collections and passages lie in Milvus: names, fields, indexes, rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient

from finesieve_server.errors import FailedPrecondition, InvalidArgument, TooLong
from finesieve_server.index import bm25
from finesieve_server.index.milvus.lexical import ANALYZER, MAX_WORDS_BYTES, words_of_passage
from finesieve_server.index.milvus.terms import (
    MAX_TERMS,
    TERM_LENGTH,
    bounds_of,
    terms_of,
)
from finesieve_server.index.records import (
    CollectionSpec,
    Distance,
    Embedding,
    HnswOptions,
    Passage,
    View,
)

FORMAT = 2  # of all that is said here
MAX_BYTES = 65_535  # of a text or a JSON value

METRICS = {Distance.COSINE: "COSINE", Distance.DOT: "IP", Distance.L2: "L2"}

_PREFIX = "finesieve_"
_SPEC = "finesieve.collection"  # the property that makes a Milvus collection one of ours
CREATION = "finesieve.creation"  # the property that tells one creation of a name from another

# Between these, a square neither vanishes nor overflows in float32.
_LENGTHS = 1e-15, 1e15

_FIELDS: Mapping[View, Sequence[str]] = {
    View.ID: ["id"],
    View.FULL: [
        *("id", "title_chars", "text", "metadata"),
        *("document_id", "ordinal", "parent_id", "context_only"),
    ],
    View.WITH_EMBEDDING: [],
}


def fields_of(view: View) -> list[str]:
    """Return the fields to ask for."""
    if view is View.WITH_EMBEDDING:
        return [*_FIELDS[View.FULL], "embedding"]
    return list(_FIELDS[view])


def milvus_name(name: str) -> str:
    """Return the Milvus name of a collection. Ours have no capitals; Milvus's have no hyphens."""
    return _PREFIX + name.replace("-", "H")


def our_name(milvus_name: str) -> str | None:
    """Return the name behind a Milvus name, None where it cannot be one of ours."""
    if not milvus_name.startswith(_PREFIX):
        return None
    return milvus_name.removeprefix(_PREFIX).replace("H", "-")


def properties_of(spec: CollectionSpec, create_time: datetime, creation: str) -> dict[str, str]:
    """Return the properties that a Milvus collection keeps a spec in, and which call made it."""
    described = asdict(spec) | {
        "distance": spec.distance.value,
        "format": FORMAT,
        "create_time": create_time.isoformat(),
    }
    return {_SPEC: json.dumps(described), CREATION: creation}


def read_properties(properties: Mapping[str, str]) -> tuple[CollectionSpec, datetime] | None:
    """Return the spec and when it was written; None where the collection is not ours.

    Raises FailedPrecondition where another version of finesieve made it.
    """
    if _SPEC not in properties:
        return None
    described = json.loads(properties[_SPEC])
    made_as = described.pop("format")
    if made_as != FORMAT:
        name = described["name"]
        raise FailedPrecondition(
            f"collection {name!r} lies in Milvus in format {made_as}, and this server reads "
            f"format {FORMAT}; use the version that made it, or drop {milvus_name(name)} in "
            "Milvus and load its passages again"
        )
    create_time = datetime.fromisoformat(described.pop("create_time")).astimezone(UTC)
    described["distance"] = Distance(described["distance"])
    described["hnsw"] = HnswOptions(**described["hnsw"])
    return CollectionSpec(**described), create_time


def schema_of(spec: CollectionSpec) -> CollectionSchema:
    """Return the Milvus schema of a collection."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    add = schema.add_field
    add("id", DataType.VARCHAR, is_primary=True, max_length=256)
    add("embedding", DataType.FLOAT_VECTOR, dim=spec.dimension)
    # The title, a space, and the text.
    add("text", DataType.VARCHAR, max_length=MAX_BYTES)
    add("title_chars", DataType.INT32)
    # What lexical search asks; lexical.py says how.
    add(
        "words",
        DataType.VARCHAR,
        max_length=MAX_WORDS_BYTES,
        enable_analyzer=True,
        analyzer_params=ANALYZER,
    )
    add("word_counts", DataType.SPARSE_FLOAT_VECTOR)
    add("metadata", DataType.JSON)
    add("document_id", DataType.VARCHAR, max_length=256)
    add("ordinal", DataType.INT64)
    add("parent_id", DataType.VARCHAR, max_length=256)
    add("context_only", DataType.BOOL)
    # What filters ask; terms.py says how.
    add(
        "terms",
        DataType.ARRAY,
        element_type=DataType.VARCHAR,
        max_capacity=MAX_TERMS,
        max_length=TERM_LENGTH,
    )
    add("bounds", DataType.JSON)
    schema.add_function(Function("bm25", FunctionType.BM25, ["words"], ["word_counts"]))
    return schema


def indexes_of(spec: CollectionSpec, *, of_terms: bool) -> Any:
    """Return the indexes that Milvus shall build."""
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index(
        "embedding",
        index_type="HNSW",
        metric_type=METRICS[spec.distance],
        params={"M": spec.hnsw.m, "efConstruction": spec.hnsw.ef_construction},
    )
    indexes.add_index(
        "word_counts",
        index_type="SPARSE_INVERTED_INDEX",
        metric_type="BM25",
        params={"bm25_k1": bm25.K1, "bm25_b": bm25.B},
    )
    if of_terms:
        indexes.add_index("terms", index_type="INVERTED")
    return indexes


def row_of(position: int, passage: Passage, embedding: Embedding, comparable: Embedding) -> Any:
    """Return the row of passages[position]. Raises InvalidArgument where Milvus cannot hold it.

    `comparable` is stored in place of an embedding too short or too long for Milvus to compare.
    """
    field = f"passages[{position}]"
    text = f"{passage.title} {passage.text}" if passage.title else passage.text
    _check_size(f"{field}.text", len(text.encode()), "with its title ")
    try:
        terms = terms_of(passage)
        _check_size(f"{field}.metadata", len(orjson.dumps(passage.metadata)))
        bounds = bounds_of(passage.metadata)
    except (ValueError, TypeError) as problem:
        raise InvalidArgument(f"{field}.metadata", f"holds {problem}") from None
    if len(terms) > MAX_TERMS:
        raise InvalidArgument(
            f"{field}.metadata",
            f"makes {len(terms)} terms, of fields and their values; Milvus takes {MAX_TERMS}",
        )
    _check_size(f"{field}.metadata", len(orjson.dumps(bounds)), "of values to compare ")
    return {
        "id": passage.id,
        "embedding": _held(embedding, comparable),
        "text": text,
        "title_chars": len(passage.title),
        # Context is not found, and its words make no others common.
        "words": "" if passage.context_only else words_of_passage(passage.title, passage.text),
        "metadata": passage.metadata,
        "document_id": passage.document_id,
        "ordinal": passage.ordinal,
        "parent_id": passage.parent_id,
        "context_only": passage.context_only,
        "terms": terms,
        "bounds": bounds,
    }


def passage_of(row: Mapping[str, Any], view: View) -> Passage:
    """Return the passage of a row that was read with the view's fields."""
    if view is View.ID:
        return Passage(row["id"])
    title_chars = row["title_chars"]
    embedding = None
    if view is View.WITH_EMBEDDING and not row["context_only"]:
        embedding = np.array(row["embedding"], np.float32)
    return Passage(
        id=row["id"],
        text=row["text"][title_chars + 1 if title_chars else 0 :],
        title=row["text"][:title_chars],
        metadata=row["metadata"],
        document_id=row["document_id"],
        ordinal=row["ordinal"],
        parent_id=row["parent_id"],
        embedding=embedding,
        context_only=row["context_only"],
    )


def bytes_of(passage: Passage) -> int:
    """Return about how much of an answer a passage takes."""
    if passage == Passage(passage.id):
        return len(passage.id)
    values = 0 if passage.embedding is None else passage.embedding.nbytes
    return len(passage.text) + len(passage.title) + len(orjson.dumps(passage.metadata)) + values


def _held(embedding: Embedding, comparable: Embedding) -> Embedding:
    shortest, longest = _LENGTHS
    length = float(np.linalg.norm(embedding.astype(np.float64)))
    return embedding if shortest < length < longest else comparable


def _check_size(field: str, size: int, what: str = "") -> None:
    if size > MAX_BYTES:
        raise TooLong(field, size, MAX_BYTES, unit=f"bytes {what}in Milvus".replace("  ", " "))
