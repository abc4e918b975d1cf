"""Write a data directory as finesieve did before its stores had format 2 (commit 22726d8)."""

import json
from pathlib import Path

import apsw
import numpy as np
from numpy.typing import NDArray

from tests.server.index.corpus import DIMENSION

UID = "0123456789abcdef0123456789abcdef"

CATALOG = """
CREATE TABLE collections (
    uid TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    spec TEXT NOT NULL,
    create_us INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
STORE = """
CREATE TABLE collection (
    uid TEXT NOT NULL,
    update_us INTEGER NOT NULL,
    generation INTEGER NOT NULL
);
CREATE TABLE passages (
    label INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    document_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    parent_id TEXT NOT NULL,
    context_only INTEGER NOT NULL
);
CREATE INDEX passages_by_document ON passages (document_id, ordinal);
CREATE INDEX passages_to_retrieve ON passages (context_only);
CREATE TABLE contents (
    label INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,
    embedding BLOB
);
CREATE TABLE passage_fields (
    field TEXT NOT NULL,
    value NOT NULL,
    label INTEGER NOT NULL,
    PRIMARY KEY (field, value, label)
) WITHOUT ROWID;
CREATE INDEX fields_by_passage ON passage_fields (label, field);
PRAGMA user_version = 1;
"""
TOKENS = """
CREATE TABLE tokenizers (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    walked_to INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE passage_tokens (
    label INTEGER NOT NULL,
    tokenizer INTEGER NOT NULL,
    ids BLOB NOT NULL,
    PRIMARY KEY (label, tokenizer)
) WITHOUT ROWID;
"""
SPEC = {
    "name": "docs",
    "embedding_model": "model",
    "fingerprint": "fingerprint",
    "dimension": DIMENSION,
    "distance": "cosine",
    "hnsw": {"m": 16, "ef_construction": 200, "ef_search": 64},
    "caller_embeds": False,
}


def write_directory(data_dir: Path, vectors: NDArray[np.float32], *, with_tokens: bool) -> Path:
    """Write one collection, passages p00000 on under labels 1 on; return its store's path."""
    folder = data_dir / "collections" / UID
    folder.mkdir(parents=True)
    catalog = _database(data_dir / "catalog.db", CATALOG)
    catalog.execute("INSERT INTO collections VALUES (?, 'docs', ?, 1)", (UID, json.dumps(SPEC)))
    catalog.close()
    store = _database(folder / "store.db", STORE + (TOKENS if with_tokens else ""))
    store.execute("BEGIN")
    store.execute("INSERT INTO collection VALUES (?, 2, 0)", (UID,))
    for label, vector in enumerate(vectors, 1):
        number = label - 1
        store.execute(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?, 0)",
            (label, f"p{number:05}", f"d{number // 10}", number % 10, f"parent{number % 2}"),
        )
        store.execute(
            "INSERT INTO contents VALUES (?, ?, ?, ?, ?)",
            (
                label,
                f"title {number}",
                f"text of {number}",
                json.dumps({"number": number}),
                vector.tobytes(),
            ),
        )
        store.execute("INSERT INTO passage_fields VALUES ('number', ?, ?)", (number, label))
        if with_tokens:
            store.execute("INSERT INTO passage_tokens VALUES (?, 1, ?)", (label, b"read"))
    if with_tokens:
        store.execute("INSERT INTO tokenizers VALUES (1, 'key', 0)")
    store.execute("COMMIT")
    store.close()
    return folder / "store.db"


def _database(path: Path, schema: str) -> apsw.Connection:
    database = apsw.Connection(str(path))
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(schema)
    return database
