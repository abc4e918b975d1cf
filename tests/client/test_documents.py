from finesieve_client import passage
from finesieve_client.batches import BATCH_BYTES
from finesieve_client.documents import BadDocument, Document, batches, parts


def document(name: str, num_passages: int, text: str = "x") -> Document:
    return Document(name, name, [passage(f"{name}#{at}", text) for at in range(num_passages)])


def test_documents_share_a_call_and_are_never_divided() -> None:
    small = [document(f"d{at}", 20) for at in range(4)]

    assert list(batches(small)) == [small[:3], small[3:]]


def test_a_long_document_is_alone() -> None:
    given = [document("a", 1), document("long", 300), document("b", 1)]

    assert list(batches(given)) == [[each] for each in given]


def test_a_pause_sends_what_there_is() -> None:
    given = [document("a", 1), None, BadDocument("b", "bad"), document("c", 1), None]

    assert list(batches(given)) == [[given[0]], [given[2], given[3]]]


def test_a_document_fits_into_one_call_by_its_passages_and_by_its_bytes() -> None:
    assert document("a", 256).fits_into_one_call
    assert not document("a", 257).fits_into_one_call
    assert not document("a", 2, "x" * (BATCH_BYTES // 2)).fits_into_one_call


def test_a_long_document_is_cut_into_calls_by_passages_and_by_bytes() -> None:
    many = document("a", 150).passages
    large = document("a", 3, "x" * (BATCH_BYTES // 2 - 100)).passages

    assert [len(part) for part in parts(many)] == [64, 64, 22]
    assert [len(part) for part in parts(large)] == [2, 1]
    assert list(parts([])) == []
