import gzip
import json
from pathlib import Path

import pytest

from finesieve_client.beir import BadFolder, collection_name, read_folder


def make_folder(folder: Path, qrels: str, qrels_name: str = "qrels.tsv") -> Path:
    (folder / qrels_name).parent.mkdir(parents=True, exist_ok=True)
    (folder / qrels_name).write_text(qrels)
    queries = [{"_id": f"q{number}", "text": f"question {number}"} for number in range(3)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "text": "one"}')
    return folder


HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.mark.parametrize("name", ["qrels.tsv", "qrels/test.tsv"])
@pytest.mark.parametrize("header", [HEADER, ""])
def test_only_queries_with_a_relevant_passage_are_taken(
    tmp_path: Path, name: str, header: str
) -> None:
    folder = make_folder(tmp_path, header + "q0\td1\t2\nq0\td2\t0\nq1\td1\t0\nq9\td1\t1\n", name)

    read = read_folder(folder)

    assert read.queries == {"q0": "question 0"}
    assert read.relevant == {"q0": {"d1": 2, "d2": 0}}
    assert read.corpus == folder / "corpus.jsonl"


def test_gzipped_files_are_read_too(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, HEADER + "q0\td1\t1\n")
    for name in ("queries.jsonl", "corpus.jsonl"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))

    read = read_folder(folder)

    assert read.queries == {"q0": "question 0"}
    assert read.corpus == folder / "corpus.jsonl.gz"


@pytest.mark.parametrize(
    ("qrels", "problem"),
    [
        (HEADER + "q0 d1 1\n", r"qrels\.tsv: line 2 is not query-id, corpus-id and score"),
        (HEADER + "q0\td1\tyes\n", "line 2 is not"),
        (HEADER + "q9\td1\t1\n", "no query of queries.jsonl is in the qrels"),
    ],
)
def test_qrels_that_are_none_are_refused(tmp_path: Path, qrels: str, problem: str) -> None:
    with pytest.raises(BadFolder, match=problem):
        read_folder(make_folder(tmp_path, qrels))


def test_a_folder_without_its_files_says_which(tmp_path: Path) -> None:
    with pytest.raises(BadFolder, match=r"has none of qrels\.tsv, qrels/test\.tsv"):
        read_folder(tmp_path)


def test_a_bad_query_says_its_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, HEADER + "q0\td1\t1\n")
    (folder / "queries.jsonl").write_text('{"_id": "q0", "text": "x"}\noops\n')

    with pytest.raises(BadFolder, match=r"queries\.jsonl: line 2 is not JSON"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("scifact", "scifact-0123abcd"),
        ("XQuAD (vi)", "xquad-vi-0123abcd"),
        ("2024", "set-2024-0123abcd"),
        ("ä", "set--0123abcd"),
        ("x" * 200, "x" * 50 + "-0123abcd"),
    ],
)
def test_a_collections_name_is_one_that_the_contract_allows(folder: str, name: str) -> None:
    assert collection_name(folder, "0123abcdef" * 6) == name


@pytest.mark.parametrize("text", ["", "  ", None])
def test_a_query_without_text_is_named(tmp_path: Path, text: str | None) -> None:
    folder = make_folder(tmp_path, HEADER + "q1\td1\t1\n")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": text}))

    with pytest.raises(BadFolder, match="the text of query 'q1' is empty"):
        read_folder(folder)
