"""Storing documents, against a server that answers as each test says."""

from collections.abc import Sequence

import grpc

from finesieve.v1.passages_pb2 import Collection
from finesieve.v1.retrieval_pb2 import (
    DeletePassagesRequest,
    DeletePassagesResponse,
    GetCollectionResponse,
    ListPassagesRequest,
    ListPassagesResponse,
    UpsertPassagesRequest,
    UpsertPassagesResponse,
)
from finesieve_client import AsyncClient, passage
from finesieve_client.document_ingestion import store_documents
from finesieve_client.documents import BadDocument, Document, Outcome
from tests.client.scripted_server import Answer, ScriptedServer, field_violation, refuse


def document(name: str, *texts: str, warnings: tuple[str, ...] = ()) -> Document:
    passages = [
        passage(f"{name}#{at}", text, document_id=name, ordinal=at) for at, text in enumerate(texts)
    ]
    return Document(name, f"{name}.md", passages, warnings)


class Server:
    """Keeps passages; refuses those that say "bad", and is late with more than it likes."""

    def __init__(self, *documents: Document, likes: int = 1_000) -> None:
        self.passages = {each.id: each for document in documents for each in document.passages}
        self.upserts: list[UpsertPassagesRequest] = []
        self._likes = likes

    def get_collection(self, *_: object) -> GetCollectionResponse:
        return GetCollectionResponse(collection=Collection(passage_count=len(self.passages)))

    def list_passages(self, request: ListPassagesRequest, _: object) -> ListPassagesResponse:
        asked = {each.document_id for each in request.filter.any_of.filters}
        asked.add(request.filter.document_id)
        found = sorted(
            (each for each in self.passages.values() if each.document_id in asked),
            key=lambda each: each.id,
        )
        start = int(request.page_token or 0)
        token = str(start + 2) if start + 2 < len(found) else ""
        return ListPassagesResponse(passages=found[start : start + 2], next_page_token=token)

    def upsert(
        self, request: UpsertPassagesRequest, context: grpc.ServicerContext
    ) -> UpsertPassagesResponse:
        self.upserts.append(request)
        if len(request.passages) > self._likes:
            refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "too slow")
        for at, each in enumerate(request.passages):
            if "bad" in each.text:
                violation = field_violation(f"passages[{at}].text", "is bad")
                refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "bad", violation)
        removed = 0
        if request.replace_documents:
            replaced = {each.document_id for each in request.passages}
            kept = {each.id for each in request.passages}
            stale = [
                each.id
                for each in self.passages.values()
                if each.document_id in replaced and each.id not in kept
            ]
            removed = len(stale)
            for each_id in stale:
                del self.passages[each_id]
        self.passages |= {each.id: each for each in request.passages}
        return UpsertPassagesResponse(inserted=len(request.passages), removed=removed)

    def delete(self, request: DeletePassagesRequest, _: object) -> DeletePassagesResponse:
        for each in request.ids:
            del self.passages[each]
        return DeletePassagesResponse(deleted=len(request.ids))


async def store(server: Server, documents: Sequence[Document | BadDocument]) -> Outcome:
    answers: dict[str, Answer] = {
        "GetCollection": server.get_collection,
        "ListPassages": server.list_passages,
        "UpsertPassages": server.upsert,
        "DeletePassages": server.delete,
    }
    total = Outcome()
    with ScriptedServer(answers) as running:
        async with AsyncClient(running.target) as client:
            async for outcome in store_documents(client, "docs", documents):
                total += outcome
    return total


async def test_documents_are_replaced_together_in_one_call() -> None:
    server = Server(document("a", "one", "two", "three"))

    outcome = await store(server, [document("a", "one"), document("b", "four", "five")])

    (upsert,) = server.upserts
    assert upsert.replace_documents
    assert sorted(server.passages) == ["a#0", "b#0", "b#1"]
    assert outcome == Outcome(documents=2, stored=3, removed=2)


async def test_what_is_the_same_there_is_not_sent() -> None:
    same = document("a", "one", "two", "three", "four", "five")
    server = Server(same)

    outcome = await store(server, [same])

    assert server.upserts == []
    assert outcome == Outcome(unchanged=1)


async def test_a_document_that_is_refused_does_not_fail_its_neighbours() -> None:
    server = Server()
    given = [document("a", "one"), document("b", "fine", "bad"), document("c", "two")]

    outcome = await store(server, given)

    assert sorted(server.passages) == ["a#0", "c#0"]
    assert outcome.bad == [BadDocument("b.md", "passage b#1: text is bad")]
    assert outcome.documents == 2


async def test_a_long_document_is_added_before_its_old_rest_is_removed() -> None:
    server = Server(document("a", *["old"] * 400))
    new = document("a", *["new"] * 300)

    outcome = await store(server, [new])

    assert not any(each.replace_documents for each in server.upserts)
    assert list(server.passages.values()) == list(new.passages)
    assert outcome == Outcome(documents=1, stored=300, removed=100)


async def test_what_the_server_is_late_with_is_sent_in_parts() -> None:
    server = Server(document("c", "old", "old"), likes=2)
    given = [document("a", "1", "2"), document("b", "3"), document("d", *"56789")]

    outcome = await store(server, [*given, document("c", "4")])

    assert sorted(server.passages) == [
        *("a#0", "a#1", "b#0", "c#0"),
        *(f"d#{at}" for at in range(5)),
    ]
    assert outcome == Outcome(documents=4, stored=9, removed=1)


async def test_what_could_not_be_read_is_passed_on() -> None:
    bad = BadDocument("x.pdf", "is locked")

    outcome = await store(Server(), [bad, document("a", "one", warnings=("was odd",))])

    assert outcome.bad == [bad]
    assert outcome.warnings == [("a.md", "was odd")]
    assert outcome.done == 2
