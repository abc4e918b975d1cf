"""How the store finds what stands around a passage and above it."""

from pathlib import Path

import apsw
import pytest

from finesieve_server.index.relatives import AROUND, CHILDREN
from finesieve_server.index.store import Store


@pytest.mark.parametrize(
    ("statement", "values", "searches"),
    [
        (
            AROUND,
            ("[]", 1),
            [
                "n USING INDEX passages_by_document"
                f" (document_id=? AND level=? AND (ordinal,id){side}(?,?))"
                for side in "<>"
            ],
        ),
        (CHILDREN, ("[]",), ["p USING COVERING INDEX passages_by_parent (parent_id=?)"]),
    ],
)
def test_a_statement_walks_the_index_and_sorts_no_more_than_it_gives(
    tmp_path: Path, statement: str, values: tuple[object, ...], searches: list[str]
) -> None:
    Store.create(tmp_path / "store.db", "uid")
    database = apsw.Connection(str(tmp_path / "store.db"))

    steps = [step for *_, step in database.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

    walks = [step for step in steps if step.startswith(("SEARCH", "SCAN p ", "SCAN n "))]
    assert walks == [f"SEARCH {search}" for search in searches]
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps
    database.close()
