import os
from pathlib import Path

import pytest

from finesieve_client.chunking.reading import read_file
from finesieve_client.chunking.source import UnreadableFile
from tests.client.chunking.pdf_bytes import pdf

FRENCH = "Les élèves étaient très âgés. Où est la bibliothèque ? À côté."
POLISH = "Zażółć gęślą jaźń. Dzień dobry, jak się masz? Wszystko w porządku."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "document.txt"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_without_a_word(path: Path, encoding: str) -> None:
    path.write_bytes(FRENCH.encode(encoding))

    source = read_file(path)

    assert source.text == FRENCH
    assert source.warnings == ()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "latin-1"),
        (POLISH, "cp1250"),
        ("Привет, как дела? Сегодня хорошая погода.", "cp1251"),
        ("今日は天気がいいです。機械学習モデルには大量のデータが必要です。", "shift_jis"),
    ],
)
def test_another_encoding_is_guessed_and_said(path: Path, text: str, encoding: str) -> None:
    path.write_bytes(text.encode(encoding))

    source = read_file(path)

    assert source.text == text
    (warning,) = source.warnings
    assert warning.startswith("is not UTF-8 at byte ")
    assert "; read as cp" in warning


def test_a_page_in_another_encoding_says_which(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    page = f'<html><head><meta charset="iso-8859-2"></head><body>{POLISH}'
    path.write_bytes(page.encode("iso-8859-2"))

    source = read_file(path)

    assert (source.text, source.warnings) == (POLISH, ())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no text"),
        (b" \n", "has no text"),
        (b"a\0b", "is not text: it has zero bytes"),
        (bytes(range(0x80, 0x100)) + bytes(range(1, 32)), "nor any other encoding of text"),
        (b"\xff\xfea", "says that it is utf-16, but is not"),
        (b"%PDF-1.4\nbroken", "is no readable PDF"),
        (pdf([["text"]])[:300], "is no readable PDF"),
        (pdf([["secret"]], locked=True), "is locked with a password"),
        (pdf([[], []]), "has no text on its 2 pages: a scan needs OCR first"),
        (b"<!DOCTYPE html><body><script>x</script>", "has no text"),
    ],
    ids=range(10),
)
def test_what_cannot_be_read_says_why(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)

    with pytest.raises(UnreadableFile, match=reason):
        read_file(path)


def test_a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)

    with pytest.raises(UnreadableFile, match="is no regular file"):
        read_file(path)


def test_the_content_says_what_a_file_is_before_its_name_does(path: Path) -> None:
    path.write_bytes(pdf([["A page of a PDF."]]))
    assert read_file(path).text == "A page of a PDF."

    path.write_bytes(b"<!doctype html><title>T</title><p>A page of HTML.")
    assert read_file(path).text == "A page of HTML."


def test_lines_may_end_as_on_other_systems(path: Path) -> None:
    path.write_bytes(b"one\r\ntwo\rthree\n")

    assert read_file(path).text == "one\ntwo\nthree\n"


def test_a_pdf_has_its_pages_title_and_whole_words_and_sentences(path: Path) -> None:
    pages = [
        ["Eels migrate", "far across the oce-", "an. They spawn there."],
        ["Then they die."],
        [],
    ]
    path.write_bytes(pdf(pages, title="On eels"))

    source = read_file(path)

    assert source.text == "Eels migrate far across the ocean. They spawn there.\nThen they die.\n"
    assert source.title == "On eels"
    assert source.pages == (0, 53, 68)
    assert source.warnings == ("1 of 3 pages have no text",)
