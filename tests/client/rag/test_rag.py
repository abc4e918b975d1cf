"""Rag and AsyncRag between a scripted server and a scripted model, both over real connections."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest

from finesieve.v1.embedding_pb2 import CountTokensRequest, CountTokensResponse
from finesieve.v1.passages_pb2 import Collection, Filter
from finesieve.v1.retrieval_pb2 import GetCollectionResponse
from finesieve.v1.search_pb2 import SearchRequest, SearchResponse
from finesieve_client import AsyncClient, Client, NotFound, field
from finesieve_client.rag import (
    Answer,
    AsyncLlm,
    AsyncRag,
    Llm,
    LlmError,
    Prices,
    Rag,
    Usage,
)
from finesieve_client.rag.turn import REFUSAL
from tests.client.rag.found import EELS, TAXES, TROUT, hit, hits
from tests.client.rag.llm_server import Fault, LlmServer, Reply
from tests.client.scripted_server import ScriptedServer, refuse

QUESTION = "Where do eels spawn?"


class Server:
    """Finds what a test says, and counts words."""

    def __init__(self) -> None:
        self.found = SearchResponse(hits=hits(EELS, TROUT))
        self.model = "minilm"
        self.searches: list[SearchRequest] = []
        self.counted: list[CountTokensRequest] = []
        self.running = ScriptedServer(
            {"Search": self.search, "GetCollection": self.describe, "CountTokens": self.count}
        )

    def search(self, request: SearchRequest, context: grpc.ServicerContext) -> SearchResponse:
        self.searches.append(request)
        if request.collection != "docs":
            refuse(context, grpc.StatusCode.NOT_FOUND, "no such collection")
        return self.found

    def describe(self, _: object, __: object) -> GetCollectionResponse:
        return GetCollectionResponse(collection=Collection(name="docs", embedding_model=self.model))

    def count(self, request: CountTokensRequest, _: object) -> CountTokensResponse:
        self.counted.append(request)
        return CountTokensResponse(tokens=[len(text.split()) for text in request.texts])


class Asking:
    """Asks by Rag or, awaited, by AsyncRag; both must do the same."""

    def __init__(self, server: Server, is_async: bool) -> None:
        self.server = server
        self._is_async = is_async

    def events(self, llm: LlmServer | None, asked: Mapping[str, Any], **options: Any) -> list[Any]:
        if self._is_async:
            return asyncio.run(self._events(llm, asked, options))
        model = None if llm is None else Llm("m", base_url=llm.base_url, max_retries=0)
        with Client(self.server.running.target) as client:
            rag = Rag(client, options.pop("collection", "docs"), model, **options)
            return list(rag.stream(QUESTION, **asked))

    async def _events(
        self, llm: LlmServer | None, asked: Mapping[str, Any], options: dict[str, Any]
    ) -> list[Any]:
        model = None if llm is None else AsyncLlm("m", base_url=llm.base_url, max_retries=0)
        async with AsyncClient(self.server.running.target) as client:
            rag = AsyncRag(client, options.pop("collection", "docs"), model, **options)
            return [event async for event in rag.stream(QUESTION, **asked)]

    def answer(self, llm: LlmServer | None, **options: Any) -> Answer:
        *pieces, answer = self.events(llm, {}, **options)
        assert "".join(pieces) == answer.text
        assert isinstance(answer, Answer)
        return answer


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.running:
        yield server


@pytest.fixture(params=[False, True], ids=["Rag", "AsyncRag"])
def asking(server: Server, request: pytest.FixtureRequest) -> Asking:
    return Asking(server, request.param)


def test_an_answer_is_streamed_and_its_citations_come_at_the_end(asking: Asking) -> None:
    with LlmServer("Eels spawn in the Sargasso Sea [1], as is known [7].") as llm:
        *pieces, answer = asking.events(llm, {})

    assert len(pieces) > 5
    assert "".join(pieces) == answer.text
    assert answer.text == "Eels spawn in the Sargasso Sea [1], as is known."
    (citation,) = answer.citations
    assert citation.passage_id == "p1"
    assert EELS[slice(*citation.span)] == "European eels spawn in the Sargasso Sea."
    assert answer.text[slice(*citation.statement)] == "Eels spawn in the Sargasso Sea"
    assert [source.passage_id for source in answer.sources] == ["p1", "p2"]
    assert not answer.refused
    assert not answer.cut


def test_the_model_reads_the_instruction_and_then_passages_and_question(asking: Asking) -> None:
    with LlmServer("Sea [1].") as llm:
        asking.answer(llm, max_answer_tokens=99)

    (request,) = llm.requests
    system, user = request["messages"]
    assert system["role"] == "system"
    assert system["content"].startswith("Answer the question from the passages below")
    assert user["role"] == "user"
    assert user["content"].splitlines()[0] == "2 passages:"
    assert user["content"].endswith(f"\n\nQuestion: {QUESTION}")
    assert request["max_tokens"] == 99


def test_without_a_model_the_best_sentences_answer(asking: Asking) -> None:
    answer = asking.answer(None)

    assert answer.text.startswith("European eels spawn in the Sargasso Sea. [1]")
    assert answer.citations[0].passage_id == "p1"
    assert answer.usage == Usage()


def test_what_an_answer_took_is_its_own(asking: Asking) -> None:
    with LlmServer("Sea [1].") as llm:
        answer = asking.answer(llm)

    assert answer.usage.calls == 1
    assert answer.usage.prompt_tokens > 50
    assert answer.usage.completion_tokens == 2
    timings = answer.timings
    assert 0 < timings.search_s <= timings.first_text_s <= timings.total_s
    assert timings.total_s == pytest.approx(timings.search_s + timings.fit_s + timings.answer_s)


def test_an_answers_cost_goes_by_the_prices(server: Server) -> None:
    with LlmServer("Sea [1].") as llm, Client(server.running.target) as client:
        model = Llm("m", base_url=llm.base_url, prices=Prices(1.0, 10.0))
        rag = Rag(client, "docs", model)

        first, second = rag.ask(QUESTION), rag.ask(QUESTION)

    tokens = first.usage.prompt_tokens
    assert first.usage.cost == pytest.approx((tokens + 20) / 1e6)
    assert model.usage == first.usage + second.usage


def test_nothing_found_is_a_refusal_and_asks_no_model(asking: Asking) -> None:
    asking.server.found = SearchResponse()

    with LlmServer("never said") as llm:
        answer = asking.answer(llm)

    assert answer.refused
    assert answer.text == REFUSAL
    assert answer.citations == ()
    assert answer.sources == ()
    assert llm.requests == []
    assert asking.server.counted == []


@pytest.mark.parametrize(
    ("probabilities", "refused"),
    [([0.2, 0.39], True), ([0.1, 0.41], False), ([0.1, None], True), ([None, None], False)],
)
def test_hits_that_are_all_improbable_are_a_refusal(
    asking: Asking, probabilities: list[float | None], refused: bool
) -> None:
    asking.server.found = SearchResponse(
        hits=[hit(EELS, id=f"p{at}", probability=each) for at, each in enumerate(probabilities)]
    )

    with LlmServer("Sea [2].") as llm:
        answer = asking.answer(llm, min_probability=0.4)

    assert answer.refused == refused
    assert len(llm.requests) == (0 if refused else 1)
    assert len(answer.sources) == (0 if refused else 2)


def test_a_model_that_refuses_is_a_refusal_with_its_words(asking: Asking) -> None:
    with LlmServer(Reply(refusal="I cannot help with that.")) as llm:
        answer = asking.answer(llm)

    assert answer.refused
    assert answer.text == "I cannot help with that."
    assert answer.citations == ()


def test_a_refusals_words_cite_only_what_was_given(asking: Asking) -> None:
    with LlmServer(Reply("Eels [1]", pieces=["Eels [1]."], refusal=" No [9], see [2].")) as llm:
        answer = asking.answer(llm)

    assert answer.refused
    assert answer.text == "Eels [1]. No, see [2]."
    assert [citation.number for citation in answer.citations] == [1, 2]


def test_an_answer_of_forged_citations_alone_is_an_error_that_says_so(asking: Asking) -> None:
    with LlmServer("[4]") as llm, pytest.raises(LlmError, match="nothing but citations of what"):
        asking.answer(llm)


def test_an_answer_that_was_cut_says_so(asking: Asking) -> None:
    with LlmServer(Reply("Eels spawn [1", finish_reason="length")) as llm:
        answer = asking.answer(llm)

    assert answer.cut
    assert answer.text == "Eels spawn [1"
    assert answer.citations == ()


@pytest.mark.parametrize(("reason", "cut"), [("content_filter", True), ("stop", False)])
def test_a_filter_cuts_too(asking: Asking, reason: str, cut: bool) -> None:
    with LlmServer(Reply("Eels spawn", finish_reason=reason)) as llm:
        assert asking.answer(llm).cut == cut


def test_a_model_that_says_nothing_is_an_error(asking: Asking) -> None:
    reply = Reply("", finish_reason="length")
    with LlmServer(reply) as llm, pytest.raises(LlmError, match="max_answer_tokens is too few"):
        asking.answer(llm)


def test_what_fits_the_budget_is_given_in_one_call_of_count_tokens(asking: Asking) -> None:
    asking.server.found = SearchResponse(hits=hits(EELS, TROUT, TAXES))
    with LlmServer("Sea [1].") as llm:
        answer = asking.answer(llm, token_budget=30)

    assert [source.text for source in answer.sources] == [EELS]
    (counted,) = asking.server.counted
    assert counted.model == "minilm"
    assert '"number": 2' not in llm.prompts()[0]


def test_a_collection_without_a_model_is_counted_by_an_estimate(asking: Asking) -> None:
    asking.server.model = ""

    answer = asking.answer(None, token_budget=60)

    assert asking.server.counted == []
    assert [source.passage_id for source in answer.sources] == ["p1"]


def test_a_counter_of_ones_own_is_used_instead(asking: Asking) -> None:
    counted: list[str] = []

    def count(texts: Any) -> list[int]:
        counted.extend(texts)
        return [len(text) for text in texts]

    answer = asking.answer(None, token_budget=150, count_tokens=count)

    assert asking.server.counted == []
    assert EELS in counted
    assert [source.passage_id for source in answer.sources] == ["p1"]


def test_both_filters_hold_and_other_queries_retrieve(asking: Asking) -> None:
    mine = field("year") >= 2020
    asked = {"filter": field("lang") == "en", "retrieval_queries": ["eel spawning grounds"]}

    asking.events(None, asked, filter=mine, top_n=4, mode="hybrid")

    (search,) = asking.server.searches
    assert list(search.filter.all_of.filters) == [mine.message, (field("lang") == "en").message]
    assert [query.text for query in search.retrieval_queries] == ["eel spawning grounds"]
    assert search.query == QUESTION
    assert search.top_n == 4


def test_without_a_filter_none_is_sent(asking: Asking) -> None:
    asking.answer(None)

    assert asking.server.searches[0].filter == Filter()
    assert not asking.server.searches[0].HasField("filter")


def test_an_option_that_there_is_not_is_refused_before_any_question(server: Server) -> None:
    with Client(server.running.target) as client:
        with pytest.raises(TypeError, match="did you mean 'ef_search'"):
            Rag(client, "docs", ef_serach=5)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="mode is 'words'"):
            Rag(client, "docs", mode="words")  # type: ignore[arg-type]
        for budget in (0, -5):
            with pytest.raises(ValueError, match=r"token_budget is .*; it is at least 1"):
                Rag(client, "docs", token_budget=budget)
        for probability in (5, -0.1, float("nan")):
            with pytest.raises(ValueError, match=r"min_probability is .*; it is from 0 to 1"):
                Rag(client, "docs", min_probability=probability)


def test_errors_of_either_side_are_their_own(asking: Asking) -> None:
    with pytest.raises(NotFound):
        asking.answer(None, collection="other")

    with LlmServer(Fault(401)) as llm, pytest.raises(LlmError, match="check OPENAI_API_KEY"):
        asking.answer(llm)


def test_who_stops_listening_hangs_up(server: Server) -> None:
    with LlmServer("a b c d [1]") as llm, Client(server.running.target) as client:
        model = Llm("m", base_url=llm.base_url)
        events = Rag(client, "docs", model).stream(QUESTION)

        assert next(events) == "a"
        events.close()

        assert model.usage.calls == 1
