"""Texts that are empty, oversized or odd: what they get from the real models' server."""

import secrets

import pytest
from google.protobuf.message import Message

from demo.server_process import ServerProcess
from finesieve.v1 import (
    embedding_pb2,
    passages_pb2,
    rerank_pb2,
    results_pb2,
    retrieval_pb2,
    search_pb2,
)
from tests.e2e.conftest import logged_call
from tests.e2e.requests import (
    COLLECTION,
    COUNT_TOKENS,
    DELETE,
    EMBED,
    MIB,
    RERANK,
    RETRIEVE,
    SEARCH,
    TEXTS,
    UPSERT,
    assert_invalid,
    rerank,
)
from tests.server.rpc.wire import Wire

HOSTILE_TEXTS = {
    "combining marks": "e" + "\u0301" * MIB,
    "no spaces": "x" * MIB,
    "emoji joins": "\U0001f468\u200d" * (MIB // 2),
    "NULs": "\x00" * MIB,
    "right to left": "\u202e" * MIB,
}

pytestmark = pytest.mark.usefixtures("alive")


@pytest.mark.parametrize("query", ["", "   ", "\n\t\u00a0"], ids=["empty", "blank", "white"])
async def test_a_query_of_nothing_is_empty(filled: None, wire: Wire, query: str) -> None:
    search = search_pb2.SearchRequest(collection=COLLECTION, query=query)
    retrieve = retrieval_pb2.RetrieveRequest(collection=COLLECTION, text=query)

    assert_invalid(await wire.call(RERANK, rerank(query, "a")), "EMPTY_FIELD", "query")
    assert_invalid(await wire.call(SEARCH, search), "EMPTY_FIELD", "query")
    assert (await wire.call(RETRIEVE, retrieve)).reason == "EMPTY_FIELD"


async def test_no_documents_at_all_are_an_error(wire: Wire) -> None:
    assert_invalid(await wire.call(RERANK, rerank("query")), "EMPTY_FIELD", "documents")


@pytest.mark.parametrize("bad", ["", " \n", "x" * 65_537], ids=["empty", "blank", "oversized"])
async def test_a_bad_document_fails_alone_even_when_it_is_the_only_one(
    wire: Wire, bad: str
) -> None:
    alone = await wire.ask(RERANK, rerank("eels", bad), rerank_pb2.RerankResponse)
    among = await wire.ask(RERANK, rerank("eels", bad, *TEXTS), rerank_pb2.RerankResponse)
    good = await wire.ask(RERANK, rerank("eels", *TEXTS), rerank_pb2.RerankResponse)

    for answer in (alone, among):
        failed = next(each for each in answer.results if each.index == 0)
        assert failed.status == results_pb2.SCORE_STATUS_FAILED
        assert failed.failure.code == 3
        assert failed.failure.reason == ("TOO_LONG" if len(bad) > 10 else "EMPTY_FIELD")
        assert failed.failure.field == "documents[0].text"
        assert not failed.HasField("score")
    scored = {each.index - 1: each.score for each in among.results if each.index}
    assert scored == {each.index: each.score for each in good.results}


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
async def test_an_oversized_text_is_refused_before_it_is_tokenized(
    filled: None, server: ServerProcess, wire: Wire, text: str
) -> None:
    passage = passages_pb2.Passage(id="p", text=text)
    requests: list[tuple[str, Message, str]] = [
        (RERANK, rerank(text, "a"), "query"),
        (SEARCH, search_pb2.SearchRequest(collection=COLLECTION, query=text), "query"),
        (EMBED, embedding_pb2.EmbedRequest(texts=["a", text]), "texts[1]"),
        (COUNT_TOKENS, embedding_pb2.CountTokensRequest(texts=["a", text]), "texts[1]"),
        (
            UPSERT,
            retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=[passage]),
            "passages[0].text",
        ),
    ]

    for path, request, field in requests:
        request_id = secrets.token_hex(8)
        outcome = await wire.call(path, request, metadata=(("x-request-id", request_id),))
        assert_invalid(outcome, "TOO_LONG", field)
        # Tokenizing it would take 200 ms and more.
        assert logged_call(server, request_id)["total_us"] < 150_000


async def test_an_oversized_document_is_refused_before_it_is_tokenized(
    server: ServerProcess, wire: Wire
) -> None:
    request = rerank("query", *HOSTILE_TEXTS.values())
    request_id = secrets.token_hex(8)

    answer = rerank_pb2.RerankResponse.FromString(
        (await wire.call(RERANK, request, metadata=(("x-request-id", request_id),))).answer
    )

    assert {each.failure.reason for each in answer.results} == {"TOO_LONG"}
    # 11 MB to receive; tokenizing it would take 2 s and more.
    assert logged_call(server, request_id)["total_us"] < 500_000


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "a\x00b",
        "\u202e\u2066text\u2069",
        "\ufeff\ufffe\uffff",
        "\U0010ffff" * 10,
        "e" + "\u0301" * 5_000,
        "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 500,
        "'; DROP TABLE passages; --",
        "x" * 65_536,
        "\u0e01\u0e33" * 1_000,
        "日本語" * 5_000,
    ],
    ids=range(11),
)
async def test_odd_texts_are_texts(filled: None, wire: Wire, text: str) -> None:
    passage = passages_pb2.Passage(id="odd", text=text, title=text[:1000])
    upsert = retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=[passage])
    get = retrieval_pb2.GetPassagesRequest(collection=COLLECTION, ids=["odd"])

    reranked = await wire.ask(RERANK, rerank(text[:8_000], text), rerank_pb2.RerankResponse)
    await wire.ask(UPSERT, upsert, retrieval_pb2.UpsertPassagesResponse)
    stored = await wire.ask(
        "/finesieve.v1.RetrievalService/GetPassages", get, retrieval_pb2.GetPassagesResponse
    )
    await wire.ask(
        DELETE,
        retrieval_pb2.DeletePassagesRequest(collection=COLLECTION, ids=["odd"]),
        retrieval_pb2.DeletePassagesResponse,
    )

    assert reranked.results[0].HasField("score")
    assert stored.passages[0].text == text


@pytest.mark.parametrize("token", ["[SEP]", "[CLS]", "</s>", "[PAD]", "[MASK]", "<s>", "[UNK]"])
async def test_special_tokens_in_a_text_are_plain_text(wire: Wire, token: str) -> None:
    plain = await wire.ask(RERANK, rerank("eels", *TEXTS), rerank_pb2.RerankResponse)
    beside = await wire.ask(
        RERANK, rerank("eels", *TEXTS, f"{token} {TEXTS[0]} {token}"), rerank_pb2.RerankResponse
    )
    only_token = await wire.ask(RERANK, rerank(token, token), rerank_pb2.RerankResponse)

    others = {each.index: each.score.logit for each in beside.results if each.index < len(TEXTS)}
    assert others == {each.index: each.score.logit for each in plain.results}
    assert all(each.HasField("score") for each in beside.results)
    assert only_token.results[0].HasField("score")
