import grpc

from finesieve.v1.passages_pb2 import Collection, Filter, Passage
from finesieve.v1.retrieval_pb2 import (
    ListCollectionsRequest,
    ListCollectionsResponse,
    ListPassagesRequest,
    ListPassagesResponse,
)
from finesieve_client import AsyncClient, Client, document
from tests.client.scripted_server import ScriptedServer


def collections(
    request: ListCollectionsRequest, _: grpc.ServicerContext
) -> ListCollectionsResponse:
    page = int(request.page_token or 0)
    return ListCollectionsResponse(
        collections=[Collection(name=f"c{page}")], next_page_token=str(page + 1) if page < 2 else ""
    )


async def test_all_collections_follows_every_page() -> None:
    with ScriptedServer({"ListCollections": collections}) as server:
        with Client(server.target) as client:
            names = [collection.name for collection in client.all_collections()]
        async with AsyncClient(server.target) as async_client:
            async_names = [each.name async for each in async_client.all_collections()]

    assert names == async_names == ["c0", "c1", "c2"]


async def test_all_passages_asks_every_page_for_the_same() -> None:
    asked: list[ListPassagesRequest] = []

    def passages(request: ListPassagesRequest, _: grpc.ServicerContext) -> ListPassagesResponse:
        asked.append(request)
        last = bool(request.page_token)
        return ListPassagesResponse(
            passages=[Passage(id="b" if last else "a")], next_page_token="" if last else "more"
        )

    with ScriptedServer({"ListPassages": passages}) as server:
        with Client(server.target) as client:
            found = [each.id for each in client.all_passages("docs", filter=document("d"))]
        async with AsyncClient(server.target) as async_client:
            stream = async_client.all_passages("docs", filter=document("d"))
            async_found = [each.id async for each in stream]

    assert found == async_found == ["a", "b"]
    assert [each.page_token for each in asked] == ["", "more", "", "more"]
    assert all(each.filter == Filter(document_id="d") for each in asked)


def test_a_page_can_be_asked_for_by_its_token() -> None:
    with (
        ScriptedServer({"ListCollections": collections}) as server,
        Client(server.target) as client,
    ):
        page = client.list_collections(page_token="1")

    assert page.collections[0].name == "c1"
    assert page.next_page_token == "2"
