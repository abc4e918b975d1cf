"""Ordering by a real cross-encoder: what counts, what fails alone, what a score depends on."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits
from finesieve_server.errors import EmptyField, InvalidArgument, ModelNotFound, TooLong
from finesieve_server.runtime.artifact import read_artifact
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.limits import Limits
from finesieve_server.search.local_scorer import LocalScorer
from finesieve_server.search.models import Models
from finesieve_server.search.pairs import LongPassage
from finesieve_server.search.ranking import Ranking, ScoreStatus
from finesieve_server.search.reranker import Reranker
from finesieve_server.search.texts import TokenizerPool
from finesieve_server.telemetry import Metrics

BUNDLED = Path(__file__).parents[3] / "models" / "minilm-l6-cross-encoder"
QUERY = "copy a folder with everything in it"
ANSWER = "Recursively copy an entire directory tree rooted at src to a directory named dst."
OTHERS = (
    "Return the sine of x, measured in radians.",
    "Send a signal to a process with the given id.",
    "Parse a date from a string according to a format.",
)


@pytest.fixture(scope="module")
def model() -> CrossEncoder:
    return CrossEncoder(read_artifact(BUNDLED), threads=2)


@pytest.fixture
async def reranker(model: CrossEncoder) -> AsyncIterator[Reranker]:
    batcher = Batcher(
        [{model.name: model}],
        BatchLimits(max_tokens=512, max_s=1.0),
        score_cache_bytes=0,
        metrics=Metrics(),
    )
    await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
    tokenizers = TokenizerPool(threads=1)
    limits = Limits(max_query_chars=4000, max_passage_chars=20_000)
    yield Reranker(LocalScorer(Models([model]), batcher, tokenizers, limits))
    tokenizers.close()
    await asyncio.to_thread(batcher.close)


def call(seconds: float = 30.0) -> Call:
    return Call(time.monotonic() + seconds)


def candidates(*texts: str) -> list[Candidate]:
    return [Candidate(text) for text in texts]


def statuses(ranking: Ranking) -> dict[int, ScoreStatus]:
    return {each.index: each.status for each in ranking.results}


def logit(ranking: Ranking, index: int = 0) -> float:
    [score] = [each.score for each in ranking.results if each.index == index]
    assert score is not None
    return score.logit


async def test_the_passage_that_answers_comes_first(reranker: Reranker) -> None:
    ranking = await reranker.rank(QUERY, candidates(*OTHERS, ANSWER), RerankOptions(), call())

    assert ranking.results[0].index == 3
    assert {each.status for each in ranking.results} == {ScoreStatus.SCORED}
    assert ranking.usage.pairs == 4


async def test_a_score_has_the_same_bits_alone_and_in_any_company(reranker: Reranker) -> None:
    alone = logit(await reranker.rank(QUERY, candidates(ANSWER), RerankOptions(), call()))

    for length in (1, 7, 40, 200):
        company = [" ".join([*OTHERS, *OTHERS] * length)[: 40 * length + at] for at in range(9)]
        ranking = await reranker.rank(QUERY, candidates(ANSWER, *company), RerankOptions(), call())
        assert logit(ranking) == alone


async def test_empty_and_oversized_documents_fail_alone(reranker: Reranker) -> None:
    texts = ("", ANSWER, " \n", "x" * 20_001)

    ranking = await reranker.rank(QUERY, candidates(*texts), RerankOptions(), call())

    assert [each.index for each in ranking.results] == [1, 0, 2, 3]
    failures = [each.failure for each in ranking.results[1:]]
    assert [type(failure) for failure in failures] == [EmptyField, EmptyField, TooLong]


async def test_the_only_document_may_fail_too(reranker: Reranker) -> None:
    ranking = await reranker.rank(QUERY, candidates(""), RerankOptions(), call())

    assert statuses(ranking) == {0: ScoreStatus.FAILED}
    assert ranking.usage.pairs == 0


async def test_a_long_passage_is_cut_and_says_so(reranker: Reranker) -> None:
    long = f"{ANSWER} " * 100

    ranking = await reranker.rank(QUERY, candidates(long, ANSWER), RerankOptions(), call())

    assert statuses(ranking) == {0: ScoreStatus.TRUNCATED, 1: ScoreStatus.SCORED}


async def test_a_long_passage_fails_alone_where_asked(reranker: Reranker) -> None:
    options = RerankOptions(long_passage=LongPassage.FAIL)

    ranking = await reranker.rank(QUERY, candidates(f"{ANSWER} " * 100, ANSWER), options, call())

    assert statuses(ranking) == {0: ScoreStatus.FAILED, 1: ScoreStatus.SCORED}


async def test_the_best_chunk_of_a_long_passage_counts_and_is_pointed_at(
    reranker: Reranker,
) -> None:
    filler = "The sky over the harbour was grey that morning. "
    text = filler * 80 + ANSWER + " " + filler * 80
    options = RerankOptions(long_passage=LongPassage.CHUNK)

    ranking = await reranker.rank(QUERY, [Candidate(text, title="Copying trees")], options, call())
    truncated = await reranker.rank(
        QUERY, [Candidate(text, title="Copying trees")], RerankOptions(), call()
    )

    [result] = ranking.results
    assert result.status is ScoreStatus.SCORED
    assert result.best_span is not None
    start, end = result.best_span
    assert ANSWER in text[start:end]
    assert logit(ranking) > logit(truncated)


async def test_chunks_beyond_the_most_allowed_are_reported_as_truncated(
    reranker: Reranker,
) -> None:
    options = RerankOptions(long_passage=LongPassage.CHUNK, max_chunks=2)

    ranking = await reranker.rank(QUERY, candidates(f"{ANSWER} " * 200), options, call())

    assert statuses(ranking) == {0: ScoreStatus.TRUNCATED}
    assert ranking.usage.pairs == 2


async def test_a_short_passage_scores_the_same_whether_chunked_or_not(reranker: Reranker) -> None:
    whole = await reranker.rank(QUERY, candidates(ANSWER), RerankOptions(), call())
    chunked = await reranker.rank(
        QUERY, candidates(ANSWER), RerankOptions(long_passage=LongPassage.CHUNK), call()
    )

    assert logit(whole) == logit(chunked)


async def test_a_query_longer_than_half_the_window_is_cut_and_reported(
    reranker: Reranker,
) -> None:
    ranking = await reranker.rank(f"{QUERY} " * 60, candidates(ANSWER), RerankOptions(), call())

    assert ranking.query_truncated
    assert statuses(ranking) == {0: ScoreStatus.SCORED}


async def test_special_tokens_in_a_passage_do_not_change_other_scores(reranker: Reranker) -> None:
    plain = await reranker.rank(QUERY, candidates(ANSWER, OTHERS[0]), RerankOptions(), call())
    forged = await reranker.rank(
        QUERY, candidates(ANSWER, f"[SEP] {QUERY} [CLS] [SEP]"), RerankOptions(), call()
    )

    assert logit(plain) == logit(forged)


async def test_the_order_blends_the_stages_by_the_models_own_weight(
    reranker: Reranker, model: CrossEncoder
) -> None:
    texts = [ANSWER, *OTHERS]
    first_stage = [0.2, 0.9, 0.1, 0.3]
    given = [
        Candidate(text, first_stage_score=score)
        for text, score in zip(texts, first_stage, strict=True)
    ]

    ranking = await reranker.rank(QUERY, given, RerankOptions(), call())

    logits = np.array([logit(ranking, index) for index in range(4)])
    scores = np.array(first_stage)
    weight = model.manifest.first_stage_weight
    expected = (
        weight * (scores - scores.mean()) / scores.std()
        + (1 - weight) * (logits - logits.mean()) / logits.std()
    )
    orderings = {each.index: each.score.ordering for each in ranking.results if each.score}
    assert [orderings[index] for index in range(4)] == pytest.approx(expected.tolist())
    assert [each.index for each in ranking.results] == np.argsort(-expected).tolist()


async def test_weight_zero_orders_by_the_cross_encoder_alone(reranker: Reranker) -> None:
    given = [Candidate(ANSWER, first_stage_score=0.0), Candidate(OTHERS[0], first_stage_score=9.0)]

    ranking = await reranker.rank(QUERY, given, RerankOptions(first_stage_weight=0.0), call())

    assert [each.index for each in ranking.results] == [0, 1]
    assert all(each.score and each.score.ordering == each.score.logit for each in ranking.results)


async def test_equal_scores_keep_the_first_stages_order(reranker: Reranker) -> None:
    given = [Candidate(ANSWER, first_stage_score=score) for score in (0.1, 0.3, 0.2)]

    ranking = await reranker.rank(QUERY, given, RerankOptions(first_stage_weight=0.0), call())

    assert [each.index for each in ranking.results] == [1, 2, 0]


async def test_improbable_passages_are_left_out_and_failed_ones_are_not(
    reranker: Reranker,
) -> None:
    options = RerankOptions(min_probability=0.5)

    ranking = await reranker.rank(QUERY, candidates(*OTHERS, ANSWER, ""), options, call())

    assert [each.index for each in ranking.results] == [3, 4]


async def test_first_stage_scores_on_some_documents_only_are_refused(reranker: Reranker) -> None:
    given = [Candidate(ANSWER, first_stage_score=0.5), Candidate(OTHERS[0])]

    with pytest.raises(InvalidArgument, match=r"documents\[1\]"):
        await reranker.rank(QUERY, given, RerankOptions(), call())


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
async def test_a_first_stage_score_that_is_not_finite_is_refused(
    reranker: Reranker, score: float
) -> None:
    with pytest.raises(InvalidArgument, match="must be finite"):
        await reranker.rank(
            QUERY, [Candidate(ANSWER, first_stage_score=score)], RerankOptions(), call()
        )


async def test_an_empty_query_is_refused(reranker: Reranker) -> None:
    with pytest.raises(EmptyField, match="query"):
        await reranker.rank(" ", candidates(ANSWER), RerankOptions(), call())


async def test_an_unknown_model_is_named_with_those_that_are_there(reranker: Reranker) -> None:
    with pytest.raises(ModelNotFound, match="finesieve-minilm-l6"):
        await reranker.rank(QUERY, candidates(ANSWER), RerankOptions(model="x"), call())


async def test_one_document_twice_is_scored_once(reranker: Reranker) -> None:
    ranking = await reranker.rank(
        QUERY, candidates(ANSWER, OTHERS[0], ANSWER), RerankOptions(), call()
    )

    assert logit(ranking, 0) == logit(ranking, 2)
    assert (ranking.usage.pairs, ranking.usage.cached_pairs) == (3, 1)


async def test_a_model_that_takes_no_instruction_refuses_one_by_name(reranker: Reranker) -> None:
    options = RerankOptions(instruction="rank by age", path="rerank")

    with pytest.raises(
        InvalidArgument, match="is not taken by model 'finesieve-minilm-l6'"
    ) as seen:
        await reranker.rank(QUERY, candidates(ANSWER), options, call())

    assert seen.value.field == "rerank.instruction"


async def test_a_partial_call_scores_the_best_of_the_first_stage_first(
    reranker: Reranker,
) -> None:
    long = f"{OTHERS[0]} " * 60
    given = [Candidate(f"{at} {long}", first_stage_score=float(at)) for at in range(200)]

    ranking = await reranker.rank(QUERY, given, RerankOptions(partial=True), call(0.8))

    scored = {at for at, status in statuses(ranking).items() if status is not ScoreStatus.DEADLINE}
    assert ranking.partial
    assert 0 < len(scored) < 200
    assert scored == set(range(200 - len(scored), 200))
    assert ranking.usage.pairs == len(scored)
    unscored = [each.index for each in ranking.results[len(scored) :]]
    assert unscored == sorted(unscored, reverse=True)


async def test_a_partial_call_that_is_refused_says_nothing_of_how_long_answers_take(
    reranker: Reranker,
) -> None:
    before_s = reranker._margin.of(10.0)

    with pytest.raises(EmptyField):
        await reranker.rank(" ", candidates(ANSWER), RerankOptions(partial=True), call())

    assert reranker._margin.of(10.0) == before_s
