"""Messages of any size that the contract allows, and texts of any script, arrive unchanged."""

import unicodedata

import pytest
from google.protobuf.struct_pb2 import Struct
from google.rpc.code_pb2 import OUT_OF_RANGE, RESOURCE_EXHAUSTED

from clients.conformance.client import Client
from clients.conformance.conftest import Connect, Serve
from clients.conformance.corpus import LARGE
from finesieve.v1.models_pb2 import ListModelsRequest, ListModelsResponse, Model
from finesieve.v1.passages_pb2 import Embedding, Passage
from finesieve.v1.rerank_pb2 import Document, RerankRequest
from finesieve.v1.results_pb2 import SCORE_STATUS_FAILED
from finesieve.v1.retrieval_pb2 import GetPassagesRequest, UpsertPassagesRequest

MIB = 1024 * 1024
MAX_REQUEST_BYTES = 32 * MIB
RERANK = "RerankService/Rerank"
GET = "RetrievalService/GetPassages"
SCRIPTS = {
    "Vietnamese": "Tiếng Việt có thanh điệu: ngã, hỏi, nặng.",
    "Vietnamese, decomposed": unicodedata.normalize("NFD", "Tiếng Việt có thanh điệu."),
    "Arabic and Hebrew": "نص عربي מוקף בטקסט עברי",
    "Chinese, beyond the basic plane": "漢字 𠮷野家 𪚥",
    "emoji with joiners": "👩🏽‍💻 🏳️‍🌈 👨‍👩‍👧‍👦",
    "hidden": "a\u200bb\u202ec\u2066d\ufeffe\U000e0041f",
    "line ends": "a\nb\r\nc\u2028d\u2029e\x85f",
    "controls": "a\x00b\x1bc\x7fd",
    "the last of Unicode": "\U0010ffff\ufffe\uffff",
}


def request_of(size: int) -> RerankRequest:
    """Return a request of so many bytes, whose one good document is the last."""
    request = RerankRequest(query="q", documents=[Document(text="a document")])
    while (missing := size - request.ByteSize()) > 8:
        # Of the bytes, 8 are a document's tags and lengths; of a document, a MiB.
        request.documents.insert(0, Document(text="x" * min(missing - 8, MIB)))
    return request


def test_a_request_near_the_limit_is_taken(client: Client) -> None:
    request = request_of(MAX_REQUEST_BYTES - 64)
    assert MAX_REQUEST_BYTES - 128 < request.ByteSize() <= MAX_REQUEST_BYTES

    answer = client.call(RERANK, request).answer

    # Each of the long documents is too long, and fails alone.
    assert len(answer.results) == len(request.documents)
    assert answer.results[0].index == len(request.documents) - 1
    assert all(each.status == SCORE_STATUS_FAILED for each in answer.results[1:])


def test_a_request_beyond_the_limit_is_refused(client: Client) -> None:
    request = request_of(MAX_REQUEST_BYTES + 64 * 1024)

    assert client.call(RERANK, request).error.code == RESOURCE_EXHAUSTED


def test_the_client_of_a_refused_request_makes_others(client: Client) -> None:
    client.call(RERANK, request_of(MAX_REQUEST_BYTES + 64 * 1024))

    client.call(RERANK, request_of(1_000)).assert_ok()


def test_an_answer_near_4_mib_arrives_whole(client: Client, large: str) -> None:
    ids = [passage.id for passage in LARGE[:-1]]

    answer = client.call(GET, GetPassagesRequest(collection=large, ids=ids)).answer

    assert 3.9 * MIB < answer.ByteSize() < 4 * MIB
    assert [(each.id, each.text) for each in answer.passages] == [
        (each.id, each.text) for each in LARGE[:-1]
    ]


@pytest.mark.parametrize("size", [5 * MIB, 60 * MIB])
def test_an_answer_up_to_64_mib_arrives_whole(connect: Connect, serve: Serve, size: int) -> None:
    answer = ListModelsResponse(models=[Model(name="m", source="x" * size)])

    with serve({"ListModels": lambda _, __: answer}) as server:
        reply = connect(server.target).call("ModelService/ListModels", ListModelsRequest())

    assert reply.answer == answer


def test_an_answer_beyond_64_mib_is_not_taken(connect: Connect, serve: Serve) -> None:
    answer = ListModelsResponse(models=[Model(name="m", source="x" * (64 * MIB + 1))])

    with serve({"ListModels": lambda _, __: answer}) as server:
        error = connect(server.target).call("ModelService/ListModels", ListModelsRequest()).error

    assert error.code in (RESOURCE_EXHAUSTED, OUT_OF_RANGE)  # tonic's word for it


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_text_of_any_script_comes_back_as_it_went(
    client: Client, large: str, script: str
) -> None:
    text = SCRIPTS[script]
    metadata = Struct()
    metadata.update({text: [text, 1.5, None, True, {"deep": text}]})
    passage = Passage(
        id=f"script {len(text)} é 漢 🙂",
        text=text,
        title=text,
        metadata=metadata,
        embedding=Embedding(values=[0, 1]),
    )
    client.call(
        "RetrievalService/UpsertPassages",
        UpsertPassagesRequest(collection=large, passages=[passage]),
    ).assert_ok()

    answer = client.call(GET, GetPassagesRequest(collection=large, ids=[passage.id])).answer

    (found,) = answer.passages
    passage.ClearField("embedding")
    assert found == passage
