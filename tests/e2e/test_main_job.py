"""What a client of any language gets from the real server with the real models."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from finesieve.v1 import (
    embedding_pb2,
    models_pb2,
    passages_pb2,
    rerank_pb2,
    results_pb2,
    retrieval_pb2,
    search_pb2,
)
from tests.conftest import StartServer
from tests.e2e.requests import (
    BATCH,
    COLLECTION,
    COUNT_TOKENS,
    CREATE,
    EMBED,
    MODELS,
    RERANK,
    RETRIEVE,
    SEARCH,
    STREAM_RERANK,
    TEXTS,
    UPSERT,
    rerank,
)
from tests.server.rpc.wire import Wire, end_of

EEL, BREAD, SEMAPHORE, TOWER = range(4)
QUESTIONS = {
    "Where do eels go to reproduce?": EEL,
    "why does dough get bigger": BREAD,
    "limit the number of concurrent workers": SEMAPHORE,
    "what colour is the tower": TOWER,
}


async def search(wire: Wire, **fields: object) -> search_pb2.SearchResponse:
    request = search_pb2.SearchRequest(**{"collection": COLLECTION, **fields})  # type: ignore[arg-type]
    return await wire.ask(SEARCH, request, search_pb2.SearchResponse)


async def ranked(wire: Wire, request: rerank_pb2.RerankRequest) -> rerank_pb2.RerankResponse:
    return await wire.ask(RERANK, request, rerank_pb2.RerankResponse)


@pytest.mark.parametrize(("question", "passage"), QUESTIONS.items(), ids=range(len(QUESTIONS)))
async def test_both_stages_find_the_passage_that_answers(
    filled: None, wire: Wire, question: str, passage: int
) -> None:
    answer = await search(wire, query=question)
    first_stage = await search(wire, query=question, skip_rerank=True)

    hits = [each.hit for each in answer.hits]
    assert hits[0].passage.id == f"p{passage}"
    assert hits[0].passage.text == TEXTS[passage]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert sorted(hit.retrieval_rank for hit in hits) == [1, 2, 3, 4]
    orderings = [hit.score.ordering for hit in hits]
    assert orderings == sorted(orderings, reverse=True)
    assert all(0 <= hit.score.probability <= 1 for hit in hits)
    assert {hit.status for hit in hits} == {results_pb2.SCORE_STATUS_SCORED}
    assert answer.usage.pairs == 4
    assert answer.timings.total_us >= answer.timings.rerank_us > 0
    assert answer.timings.embed_us > 0
    first = [each.hit for each in first_stage.hits]
    assert {hit.passage.id: hit.retrieval_rank for hit in hits} == {
        hit.passage.id: hit.rank for hit in first
    }
    assert not any(hit.HasField("score") for hit in first)
    assert first_stage.timings.rerank_us == 0


async def test_a_client_that_chains_the_stages_gets_what_search_gives(
    filled: None, wire: Wire
) -> None:
    question = "why does dough get bigger"
    in_one = await search(wire, query=question)

    retrieve = retrieval_pb2.RetrieveRequest(collection=COLLECTION, text=question)
    found = await wire.ask(RETRIEVE, retrieve, retrieval_pb2.RetrieveResponse)
    documents = [
        rerank_pb2.Document(
            id=hit.passage.id, text=hit.passage.text, first_stage_score=hit.retrieval_score
        )
        for hit in found.hits
    ]
    chained = await ranked(wire, rerank_pb2.RerankRequest(query=question, documents=documents))

    assert [(each.id, each.score) for each in chained.results] == [
        (each.hit.passage.id, each.hit.score) for each in in_one.hits
    ]


async def test_reranking_by_ids_alone_orders_as_with_texts(filled: None, wire: Wire) -> None:
    only_ids = await search(wire, query="what colour is the tower", view="PASSAGE_VIEW_ID")
    full = await search(wire, query="what colour is the tower")

    assert [each.hit.passage for each in only_ids.hits] == [
        passages_pb2.Passage(id=each.hit.passage.id) for each in full.hits
    ]
    assert [each.hit.score for each in only_ids.hits] == [each.hit.score for each in full.hits]


async def test_a_logit_is_the_same_alone_and_in_company_to_the_bit(wire: Wire) -> None:
    query = "limit the number of concurrent workers"
    company = [*TEXTS, *[f"{text} {text}" * at for at, text in enumerate(TEXTS, start=1)]]

    alone = [(await ranked(wire, rerank(query, text))).results[0] for text in company]
    together = await ranked(wire, rerank(query, *company))
    in_streams = await asyncio.gather(*(ranked(wire, rerank(query, *company)) for _ in range(4)))

    expected = {at: (each.score.logit, each.score.probability) for at, each in enumerate(alone)}
    for answer in (together, *in_streams):
        assert {
            each.index: (each.score.logit, each.score.probability) for each in answer.results
        } == expected


async def test_the_best_span_of_a_long_passage_is_where_the_answer_stands(wire: Wire) -> None:
    filler = " ".join(TEXTS[1:]) * 30
    passage = f"{filler} {TEXTS[EEL]} {filler}"
    request = rerank("Where does the eel migrate to spawn?", passage, *TEXTS[1:])

    cut = await ranked(wire, request)
    request.options.long_passage = rerank_pb2.LONG_PASSAGE_CHUNK
    chunked = await ranked(wire, request)
    request.options.long_passage = rerank_pb2.LONG_PASSAGE_FAIL
    failed = await ranked(wire, request)

    def long_one(answer: rerank_pb2.RerankResponse) -> rerank_pb2.RerankResult:
        return next(each for each in answer.results if each.index == 0)

    assert long_one(cut).status == results_pb2.SCORE_STATUS_TRUNCATED
    best = long_one(chunked)
    assert best.status == results_pb2.SCORE_STATUS_SCORED
    assert "Sargasso" in passage[best.best_span.start : best.best_span.end]
    assert best.score.logit > long_one(cut).score.logit
    assert long_one(failed).status == results_pb2.SCORE_STATUS_FAILED
    assert long_one(failed).failure.reason == "TOO_LONG"
    assert all(each.score.logit for each in failed.results if each.index)


async def test_options_narrow_the_answer(wire: Wire) -> None:
    request = rerank("Where do eels go to reproduce?", *TEXTS, top_n=2)

    two = await ranked(wire, request)
    request.top_n = 0
    request.options.min_probability = 1.0
    none = await ranked(wire, request)
    request.options.min_probability = 0.0
    every = await ranked(wire, request)

    assert [each.index for each in two.results] == [each.index for each in every.results][:2]
    assert not none.results
    assert len(every.results) == 4


async def test_a_weight_of_one_leaves_the_first_stages_order(wire: Wire) -> None:
    request = rerank("Where do eels go to reproduce?", *TEXTS)
    for at, document in enumerate(request.documents):
        document.first_stage_score = float(at)

    request.options.first_stage_weight = 1.0
    by_first = await ranked(wire, request)
    request.options.first_stage_weight = 0.0
    by_second = await ranked(wire, request)

    assert [each.index for each in by_first.results] == [3, 2, 1, 0]
    assert by_second.results[0].index == EEL
    assert by_second.results[0].score.ordering == by_second.results[0].score.logit


async def test_a_partial_answer_comes_in_time_with_the_rest_in_first_stage_order(
    wire: Wire,
) -> None:
    texts = [f"{at} many words in a row " * 80 for at in range(400)]
    request = rerank("many words", *texts)
    for at, document in enumerate(request.documents):
        document.first_stage_score = float(-at)
    request.options.on_deadline = rerank_pb2.ON_DEADLINE_PARTIAL
    started = time.monotonic()
    await ranked(wire, rerank("many words", *texts[:20]))
    timeout = 4 * (time.monotonic() - started)  # a fifth of what all take

    outcome = await wire.call(RERANK, request, timeout=timeout)
    if not outcome.ok:  # one in a hundred may be late
        outcome = await wire.call(RERANK, request, timeout=timeout)

    assert outcome.ok, outcome
    answer = rerank_pb2.RerankResponse.FromString(outcome.answer)
    assert answer.partial
    assert len(answer.results) == 400
    scored = [each for each in answer.results if each.HasField("score")]
    unscored = [each.index for each in answer.results if not each.HasField("score")]
    assert scored
    assert [each.HasField("score") for each in answer.results] == (
        [True] * len(scored) + [False] * len(unscored)
    )
    assert unscored == sorted(unscored)
    assert {each.status for each in answer.results[len(scored) :]} == {
        results_pb2.SCORE_STATUS_DEADLINE
    }


async def test_embeddings_are_those_that_retrieval_uses(filled: None, wire: Wire) -> None:
    question = "what colour is the tower"
    embed = embedding_pb2.EmbedRequest(texts=[question], role=embedding_pb2.TEXT_ROLE_QUERY)
    embedded = await wire.ask(EMBED, embed, embedding_pb2.EmbedResponse)
    query = retrieval_pb2.RetrievalQuery
    batch = retrieval_pb2.BatchRetrieveRequest(
        collection=COLLECTION,
        queries=[query(text=question), query(embedding=embedded.embeddings[0])],
    )

    answer = await wire.ask(BATCH, batch, retrieval_pb2.BatchRetrieveResponse)

    by_text, by_embedding = answer.results
    assert [hit.passage.id for hit in by_text.hits] == [hit.passage.id for hit in by_embedding.hits]
    assert np.linalg.norm(embedded.embeddings[0].values) == pytest.approx(1, abs=1e-3)
    assert embedded.tokens > 4
    assert not embedded.truncated


async def test_a_text_longer_than_the_window_is_embedded_and_reported(wire: Wire) -> None:
    embed = embedding_pb2.EmbedRequest(texts=["short", "many words in a row " * 500, "short"])

    answer = await wire.ask(EMBED, embed, embedding_pb2.EmbedResponse)

    assert list(answer.truncated) == [1]
    assert answer.embeddings[0] == answer.embeddings[2]


async def test_tokens_are_counted_as_the_embedder_reads_them(wire: Wire) -> None:
    texts = ["eels", "eels migrate", "many words in a row " * 500]

    counted = await wire.ask(
        COUNT_TOKENS,
        embedding_pb2.CountTokensRequest(texts=texts),
        embedding_pb2.CountTokensResponse,
    )

    embedded = await wire.ask(
        EMBED, embedding_pb2.EmbedRequest(texts=texts[:2]), embedding_pb2.EmbedResponse
    )
    assert sum(counted.tokens[:2]) + 2 * counted.added_tokens == embedded.tokens
    assert counted.tokens[2] == 2_500 > counted.max_tokens
    assert (counted.added_tokens, counted.max_tokens) == (2, 256)
    assert counted.model == embedded.model


async def test_the_models_say_what_they_are(wire: Wire) -> None:
    answer = await wire.ask(MODELS, models_pb2.ListModelsRequest(), models_pb2.ListModelsResponse)

    kinds = {model.kind: model for model in answer.models}
    bi_encoder = kinds[models_pb2.MODEL_KIND_BI_ENCODER]
    cross_encoder = kinds[models_pb2.MODEL_KIND_CROSS_ENCODER]
    assert (bi_encoder.dimension, cross_encoder.dimension) == (384, 0)
    for model in kinds.values():
        assert model.is_default
        assert model.source
        assert model.precision == "int8"
        assert model.max_tokens >= 256
        assert len(model.sha256) == 64
        assert model.execution_provider == "CPUExecutionProvider"


@pytest.fixture
def many_reranks() -> list[rerank_pb2.StreamRerankRequest]:
    return [
        rerank_pb2.StreamRerankRequest(
            request_id=f"r{at}", request=rerank("Where do eels go?", TEXTS[at % 4])
        )
        for at in range(200)
    ]


async def test_a_stream_answers_every_request_once(
    wire: Wire, many_reranks: list[rerank_pb2.StreamRerankRequest]
) -> None:
    stream = wire.stream(STREAM_RERANK)

    async def send() -> None:
        for message in many_reranks:
            await stream.write(message.SerializeToString())
        await stream.done_writing()

    sending = asyncio.create_task(send())
    answers = [answer async for answer in answers_of(stream)]
    await sending
    ended = await end_of(stream)

    assert sorted(answer.request_id for answer in answers) == sorted(
        message.request_id for message in many_reranks
    )
    logits: dict[str, set[float]] = {}
    for answer in answers:
        text = TEXTS[int(answer.request_id[1:]) % 4]
        logits.setdefault(text, set()).add(answer.response.results[0].score.logit)
    assert [len(each) for each in logits.values()] == [1, 1, 1, 1]
    assert ended.ok


async def answers_of(stream: object) -> AsyncIterator[rerank_pb2.StreamRerankResponse]:
    async for message in stream:  # type: ignore[attr-defined]
        yield rerank_pb2.StreamRerankResponse.FromString(message)


async def test_a_restarted_server_answers_as_before(
    start_server: StartServer, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    passages = [passages_pb2.Passage(id=f"p{at}", text=text) for at, text in enumerate(TEXTS)]
    question = "Where do eels go to reproduce?"

    first = start_server(data_dir=data_dir)
    async with Wire(first.address) as wire:
        create = retrieval_pb2.CreateCollectionRequest(name=COLLECTION)
        await wire.ask(CREATE, create, retrieval_pb2.CreateCollectionResponse)
        upsert = retrieval_pb2.UpsertPassagesRequest(collection=COLLECTION, passages=passages)
        await wire.ask(UPSERT, upsert, retrieval_pb2.UpsertPassagesResponse)
        before = await search(wire, query=question)
    first.kill()

    second = start_server(data_dir=data_dir)
    async with Wire(second.address) as wire:
        after = await search(wire, query=question)

    assert list(after.hits) == list(before.hits)
