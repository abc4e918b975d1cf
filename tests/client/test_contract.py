import inspect

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from finesieve.v1 import embedding_pb2, models_pb2, rerank_pb2, retrieval_pb2, search_pb2
from finesieve_client import AsyncClient, Client, contract

SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module, name in (
        (retrieval_pb2, "RetrievalService"),
        (rerank_pb2, "RerankService"),
        (search_pb2, "SearchService"),
        (embedding_pb2, "EmbeddingService"),
        (models_pb2, "ModelService"),
    )
]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_rpc_of_the_contract_is_spoken_with_its_own_messages(
    service: ServiceDescriptor,
) -> None:
    spoken = {method.path: method for method in contract.METHODS}

    for rpc in service.methods:
        method = spoken[f"/{service.full_name}/{rpc.name}"]

        assert method.request.DESCRIPTOR is rpc.input_type
        assert method.response.DESCRIPTOR is rpc.output_type


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_rpc_of_the_contract_is_a_method_of_both_clients(
    client: type, service: ServiceDescriptor
) -> None:
    for rpc in service.methods:
        words = "".join(f"_{each.lower()}" if each.isupper() else each for each in rpc.name)
        method = getattr(client, words.removeprefix("_"))

        assert method.__doc__
        assert "timeout_s" in inspect.signature(method).parameters


def test_both_clients_offer_the_same() -> None:
    def offered(client: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in vars(client).items()
            if not name.startswith("_") and callable(method)
        }

    assert offered(Client) == offered(AsyncClient)


def test_help_shows_a_method_as_it_is_called() -> None:
    signature = inspect.signature(Client.retrieve)

    assert list(signature.parameters)[:4] == ["self", "collection", "query", "top_k"]
    assert signature.return_annotation is retrieval_pb2.RetrieveResponse
