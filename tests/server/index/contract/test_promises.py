"""The table of what Milvus promises less is the document's."""

from pathlib import Path

from tests.server.index.contract import (
    test_catalog,
    test_collection,
    test_filters,
    test_lexical,
)
from tests.server.index.contract import test_replace_documents as test_replacing
from tests.server.index.contract.promises import MILVUS_PROMISES_LESS

DOCUMENT = Path(__file__).parents[4] / "docs" / "milvus.md"


def test_each_row_stands_in_the_document_and_names_a_test() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    tests = {
        name
        for module in (test_catalog, test_collection, test_filters, test_lexical, test_replacing)
        for name in vars(module)
    }

    for name, less in MILVUS_PROMISES_LESS.items():
        assert f"\n| {less.instead} |" in document, less.instead
        assert name in tests
