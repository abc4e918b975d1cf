import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finesieve.v1.retrieval_pb2 import UpsertPassagesRequest
from finesieve_client import metadata_of
from finesieve_client.rows import (
    MAX_PASSAGE_BYTES,
    BadRow,
    DamagedFile,
    Row,
    count_rows,
    digest,
    read_lines,
    read_rows,
)

GOOD = b'{"_id": "a", "title": "T", "text": "one"}\n'


def only(line: str | bytes) -> Row | BadRow:
    (row,) = read_rows([line if isinstance(line, bytes) else line.encode()])
    return row


def nested(levels: int, opening: str = '{"a": ', closing: str = "}") -> str:
    """Return a row whose metadata has so many levels; the metadata itself is one."""
    inner = opening * (levels - 1) + "0" + closing * (levels - 1)
    return f'{{"id": "deep", "text": "x", "metadata": {{"a": {inner}}}}}'


def test_metadata_as_deep_as_allowed_survives_the_wire() -> None:
    row = only(nested(32))

    assert isinstance(row, Row)
    request = UpsertPassagesRequest(collection="docs", passages=[row.passage])
    assert UpsertPassagesRequest.FromString(request.SerializeToString()) == request


def test_beirs_names_and_our_own_mean_the_same() -> None:
    beir = only('{"_id": "a", "title": "T", "text": "one", "metadata": {"year": 2020}}')
    ours = only('{"id": "a", "title": "T", "text": "one", "metadata": {"year": 2020}}')

    assert isinstance(beir, Row)
    assert beir == ours
    assert metadata_of(beir.passage) == {"year": 2020}


def test_every_field_of_a_passage_is_read() -> None:
    row = only(
        '{"id": "a", "text": "one", "document_id": "d", "ordinal": 2, "parent_id": "p",'
        ' "embedding": [0.5, 1], "context_only": true}'
    )

    assert isinstance(row, Row)
    assert (row.passage.document_id, row.passage.ordinal, row.passage.parent_id) == ("d", 2, "p")
    assert list(row.passage.embedding.values) == [0.5, 1.0]
    assert row.passage.context_only


def test_an_id_that_is_a_whole_number_is_written_out() -> None:
    row = only('{"_id": 31715818, "text": "one"}')

    assert isinstance(row, Row)
    assert row.passage.id == "31715818"


def test_fields_that_a_passage_does_not_have_are_named() -> None:
    row = only('{"id": "a", "text": "one", "url": "x", "title": null, "year": 1}')

    assert isinstance(row, Row)
    assert row.ignored == ("url", "year")
    assert row.passage.title == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"_id": "a", "text"', "is not JSON: Expecting ':' delimiter at column 20"),
        ("[1, 2]", "is not an object: a list"),
        ('{"text": "one"}', "has no id"),
        ('{"_id": "a"}', "has no text"),
        ('{"_id": "a", "text": null}', "has no text"),
        ('{"_id": "a", "text": 5}', "text is a whole number; it must be a string"),
        ('{"_id": true, "text": "x"}', "id is true or false; it must be a string"),
        ('{"_id": "", "text": "x"}', "id has 0 bytes; 1..256 are allowed"),
        ('{"_id": "' + "é" * 129 + '", "text": "x"}', "id has 258 bytes; 1..256 are allowed"),
        ('{"_id": "a\\u0007", "text": "x"}', "id has control characters"),
        ('{"_id": "a", "text": "x", "metadata": []}', "metadata is a list; it must be an object"),
        (
            '{"_id": "a", "text": "x", "ordinal": true}',
            "ordinal is true or false; it must be a whole number",
        ),
        ('{"_id": "a", "text": "x", "ordinal": -1}', "ordinal is -1; allowed 0..4294967295"),
        ('{"_id": "a", "text": "x", "embedding": ["1"]}', "embedding must be a list of numbers"),
        ('{"_id": "a", "text": "x", "metadata": {"n": NaN}}', "NaN is no JSON number"),
        (
            '{"_id": "a", "text": "x", "metadata": {"n": 9007199254740993}}',
            (
                "metadata.n is 9007199254740993; a number is a double, exact to 2^53: "
                "write it as a string"
            ),
        ),
        ('{"_id": "a", "text": "\\ud800"}', "has half a surrogate pair, which is no character"),
        (b'{"_id": "a", "text": "\xff"}', "is not UTF-8 at byte 22"),
        ("[" * 100_000, "is nested too deeply"),
        (nested(33), "metadata is nested deeper than 32 levels"),
        (nested(200), "metadata is nested deeper than 32 levels"),
        (nested(900, "[", "]"), "metadata is nested deeper than 32 levels"),
    ],
)
def test_a_bad_row_says_its_line_and_why(line: str | bytes, reason: str) -> None:
    assert only(line) == BadRow(1, reason)


def test_a_passage_that_no_request_can_hold_is_a_bad_row() -> None:
    row = only(json.dumps({"_id": "a", "text": "x" * MAX_PASSAGE_BYTES}))

    assert isinstance(row, BadRow)
    assert "one request holds 4,000,000" in row.reason


def test_good_rows_around_bad_ones_are_kept_and_lines_count_blank_ones() -> None:
    rows = list(read_rows([GOOD, b"\n", b"oops\n", b'{"_id": "b", "text": "two"}\n']))

    assert [row.line for row in rows] == [1, 3, 4]
    assert [type(row) for row in rows] == [Row, BadRow, Row]


def test_an_id_counts_the_first_time_it_comes() -> None:
    first, again = read_rows([GOOD, GOOD])

    assert isinstance(first, Row)
    assert again == BadRow(2, "id 'a' was on line 1 already")


def test_a_row_without_id_does_not_take_the_next_ones() -> None:
    rows = list(read_rows([b'{"text": "x"}', b'{"text": "y"}']))

    assert rows == [BadRow(1, "has no id"), BadRow(2, "has no id")]


def test_gzip_is_recognised_by_its_content(tmp_path: Path) -> None:
    zipped = tmp_path / "corpus"
    zipped.write_bytes(gzip.compress(GOOD + b"\n" + GOOD))
    plain = tmp_path / "corpus.jsonl.gz"
    plain.write_bytes(GOOD + b"\n" + GOOD)

    assert list(read_lines(str(zipped))) == list(read_lines(str(plain))) == [GOOD, b"\n", GOOD]
    assert digest(str(zipped)) == digest(str(plain))
    assert count_rows(str(zipped)) == count_rows(str(plain)) == 2


def test_a_byte_order_mark_is_no_part_of_the_first_row() -> None:
    assert isinstance(only(b"\xef\xbb\xbf" + GOOD), Row)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    empty = tmp_path / "corpus.jsonl"
    empty.write_bytes(b"")

    assert count_rows(str(empty)) == 0


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_gzip_file_that_is_not_whole_is_damaged(tmp_path: Path, damage: str) -> None:
    content = bytearray(gzip.compress(b"".join(b'{"_id": "%d"}\n' % n for n in range(5000))))
    if damage == "cut":
        del content[-100:]
    else:
        content[len(content) // 2] ^= 0xFF
    damaged = tmp_path / "corpus.jsonl.gz"
    damaged.write_bytes(content)

    with pytest.raises(DamagedFile, match=r"corpus\.jsonl\.gz is damaged"):
        count_rows(str(damaged))


def test_what_can_be_read_only_once_is_not_counted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    assert count_rows(str(pipe)) is None
    assert count_rows("-") is None


def test_standard_input_is_read_as_a_file_is() -> None:
    program = "from finesieve_client.rows import read_lines; print(list(read_lines('-')))"
    done = subprocess.run(
        [sys.executable, "-c", program], input=gzip.compress(GOOD), capture_output=True, check=True
    )

    assert done.stdout.decode() == f"{[GOOD]}\n"
