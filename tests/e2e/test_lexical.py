"""Search by words through a real server and client: hostile queries, updates, and both modes."""

from collections.abc import Iterator

import pytest

from demo.server_process import ServerProcess
from finesieve_client import Client, InvalidArgument, field, passage, retrieval_query

COLLECTION = "e2e-lexical"
TEXTS = {
    "coarse": "A coarse sieve lets most grains through.",
    "fine": "A fine sieve holds back all but dust.",
    "tones": "M\u00e1 c\u1ee7a t\u00f4i \u0111i ch\u1ee3.",
    "han": "我喜欢喝茶。",
    "near": "NEAR and AND are words like NOT and OR.",
    "column": "title: text: both are followed by a colon, and some* by a star.",
}


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address, timeout_s=60) as client:
        client.create_collection(COLLECTION)
        client.upsert_passages(
            COLLECTION,
            [passage(id_, text, metadata={"length": len(text)}) for id_, text in TEXTS.items()],
        )
        yield client
        client.delete_collection(COLLECTION)


def find(client: Client, query: str) -> set[str]:
    answer = client.retrieve(COLLECTION, query, mode="lexical")
    return {hit.passage.id for hit in answer.hits}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"', set()),
        ('"""\x00\x00"*', set()),
        ("'; DROP TABLE passages; --", set()),
        ('sieve" OR "1"="1', {"coarse", "fine", "near"}),
        ("NEAR(sieve dust, 1)", {"coarse", "fine", "near"}),
        ("title: star*", {"column"}),
        ("star", {"column"}),
        ("sta", set()),
        ("-coarse", {"coarse"}),
        ("^holds + {dust}", {"fine"}),
        ("NOT", {"near"}),
        ("喝茶", {"han"}),
        ("m\u00e1", {"tones"}),
        ("ma\u0301 CU\u031b\u0309A", {"tones"}),
        ("ma", set()),
        ("🔥\u200d👩 \u0301\u0301", set()),
    ],
)
def test_a_query_is_plain_words_whatever_it_looks_like(
    client: Client, query: str, expected: set[str]
) -> None:
    assert find(client, query) == expected


@pytest.mark.parametrize("junk", ["\x00" * 1_000_000, '" OR ' * 200_000, "é" * 1_000_000])
def test_a_megabyte_of_junk_is_refused_by_its_length(client: Client, junk: str) -> None:
    with pytest.raises(InvalidArgument, match="8192"):
        client.retrieve(COLLECTION, junk, mode="lexical")


@pytest.mark.parametrize("junk", ["\x00 " * 4_096, '" OR ' * 1_600, "é" * 8_192, "喝" * 8_192])
def test_as_much_junk_as_a_query_may_hold_is_answered(client: Client, junk: str) -> None:
    for mode in ("lexical", "hybrid"):
        client.retrieve(COLLECTION, junk, mode=mode)


def test_updates_and_deletes_show_at_once(client: Client) -> None:
    client.upsert_passages(COLLECTION, [passage("coarse", "Now about colanders.")])
    assert find(client, "coarse") == set()
    assert find(client, "colander") == {"coarse"}

    client.delete_passages(COLLECTION, ids=["coarse"])
    assert find(client, "colander") == set()


def test_both_modes_serve_every_method_and_take_filters(client: Client) -> None:
    words_alone = client.retrieve(
        COLLECTION, "sieve", mode="lexical", filter=field("length") < len(TEXTS["coarse"])
    )
    [first, second] = client.batch_retrieve(
        COLLECTION, ["dust", "grains"], mode="hybrid", top_k=1
    ).results
    searched = client.search(
        COLLECTION,
        "what holds back dust?",
        mode="hybrid",
        retrieval_queries=["a sieve", retrieval_query(client.embed(["dust"]).embeddings[0].values)],
    )

    assert [hit.passage.id for hit in words_alone.hits] == ["fine"]
    assert [hit.passage.id for hit in (*first.hits, *second.hits)] == ["fine", "coarse"]
    assert searched.hits[0].hit.passage.id == "fine"
    assert searched.hits[0].hit.HasField("score")
    assert len({found.hit.passage.id for found in searched.hits}) == len(searched.hits)


def test_an_embedding_without_words_is_refused_where_words_are_looked_for(client: Client) -> None:
    embedding = client.embed(["dust"]).embeddings[0].values

    with pytest.raises(InvalidArgument, match="words is missing"):
        client.retrieve(COLLECTION, embedding, mode="hybrid")
    answer = client.retrieve(COLLECTION, embedding, words="dust", mode="hybrid", top_k=1)

    assert answer.hits[0].passage.id == "fine"
