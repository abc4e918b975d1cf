from collections.abc import Callable
from typing import Any

import pytest

from finesieve_client import AsyncClient, AsyncTwoStage, Client, TwoStage, compare, rerank_request
from finesieve_client.calls import corpus, ranking

Build = Callable[..., Any]


@pytest.mark.parametrize(
    ("build", "arguments", "wrong", "advice"),
    [
        (ranking.search, ("docs", "q"), "retrievek", "known: filter, mode"),
        (ranking.search, ("docs", "q"), "efsearch", "did you mean 'ef_search'?"),
        (ranking.retrieve, ("docs", "q"), "model", "did you mean 'mode'?"),
        (ranking.batch_retrieve, ("docs", ["q"]), "exakt", "did you mean 'exact'?"),
        (ranking.rerank, ("q", ["text"]), "top_k", "known: model"),
        (rerank_request, ("q", ["text"]), "max_chunk", "did you mean 'max_chunks'?"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_option_that_is_misspelt_is_no_option(
    build: Build, arguments: tuple[Any, ...], wrong: str, advice: str
) -> None:
    with pytest.raises(TypeError, match=f"unexpected option '{wrong}'; .*") as raised:
        build(*arguments, **{wrong: 3})

    assert advice in str(raised.value)


@pytest.mark.parametrize("option", ["skip_rerank", "view", "context"])
async def test_a_chain_refuses_what_only_the_servers_own_search_can_do(option: str) -> None:
    options: Any = {option: "id"}

    with Client("127.0.0.1:1") as client, pytest.raises(TypeError, match=option):
        TwoStage(client).search("docs", "q", **options)
    with Client("127.0.0.1:1") as client, pytest.raises(TypeError, match=option):
        compare(TwoStage(client), "docs", "q", **options)
    async with AsyncClient("127.0.0.1:1") as async_client:
        with pytest.raises(TypeError, match=option):
            await AsyncTwoStage(async_client).search("docs", "q", **options)


@pytest.mark.parametrize(
    ("build", "arguments", "field"),
    [
        (ranking.embed, ("abc",), "texts"),
        (ranking.rerank, ("q", "abc"), "documents"),
        (ranking.batch_retrieve, ("docs", "abc"), "queries"),
        (corpus.get_passages, ("docs", "abc"), "ids"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_one_string_is_not_taken_for_a_list_of_letters(
    build: Build, arguments: tuple[Any, ...], field: str
) -> None:
    with pytest.raises(TypeError, match=rf"{field} is one string; .*: \['abc'\]"):
        build(*arguments)


def test_one_id_to_delete_is_not_taken_for_its_letters() -> None:
    with pytest.raises(TypeError, match="ids is one string"):
        corpus.delete_passages("docs", ids="abc")


def test_one_query_to_expand_is_not_taken_for_its_letters() -> None:
    with pytest.raises(TypeError, match="retrieval_queries is one string"):
        ranking.search("docs", "q", retrieval_queries="abc")
