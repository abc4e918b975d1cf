"""Decode a file that says nothing of its encoding: UTF-8, or what the Web's older pages are in."""

from finesieve_client.chunking.source import UnreadableFile, library

_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_WESTERN = "cp1252"
_CANDIDATES = [
    *(_WESTERN, "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("koi8_r", "cp932", "euc_jp", "gb18030", "big5", "cp949"),
]


def decode(content: bytes, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Return a file's text, and a warning where its encoding was guessed.

    `declared`: what the file says of itself; counts where it is not UTF-8. Raises UnreadableFile.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return _decode_as(content, encoding), ()
    if b"\0" in content:
        raise UnreadableFile("is not text: it has zero bytes")
    try:
        return content.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        position = error.start
    if declared is not None and declared.lower() not in ("utf-8", "utf8"):
        return _decode_as(content, declared), ()
    guesses = library("charset_normalizer").from_bytes(content, cp_isolation=_CANDIDATES)
    if not guesses:
        raise UnreadableFile(f"is not UTF-8 at byte {position}, nor any other encoding of text")
    # Many Western texts are sound in several code pages.
    best = min(guesses, key=lambda each: (each.chaos, -each.coherence, each.encoding != _WESTERN))
    return str(best), (f"is not UTF-8 at byte {position}; read as {best.encoding}",)


def _decode_as(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise UnreadableFile(f"says that it is {encoding}, but is not: {error}") from error
