"""Replicas that are scripted, and what a Search's second stage makes of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from finesieve.v1 import rerank_pb2, rerank_pb2_grpc, results_pb2
from finesieve_server.errors import (
    DeadlineExceeded,
    FinesieveError,
    InvalidArgument,
    ModelNotFound,
    Overloaded,
    TooLong,
    Unavailable,
)
from finesieve_server.rpc.remote_scorer import RemoteScorer
from finesieve_server.rpc.replicas import SERVICE, Replicas
from finesieve_server.rpc.status import code_of, failure_of, message_of, trailers_of
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.ranking import Ranked, Ranking, ScoreStatus
from finesieve_server.search.reranker import Reranker
from finesieve_server.telemetry import Metrics

Start = Callable[..., Awaitable["Replica"]]


@dataclass
class Replica(rerank_pb2_grpc.RerankServiceServicer):
    """A server of RerankService that answers by lengths, or fails as the test says."""

    port: int = 0
    requests: list[rerank_pb2.RerankRequest] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)
    failures: list[FinesieveError] = field(default_factory=list)  # one a call, from the last
    fails_always: FinesieveError | None = None
    hangs: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)  # the caller, while it hangs
    model: str = "length"
    health: Any = field(default_factory=health.aio.HealthServicer)
    server: Any = None

    async def Rerank(self, request: rerank_pb2.RerankRequest, context: Any) -> Any:
        self.requests.append(request)
        self.contexts.append(context)
        self.asked.set()
        if self.hangs:
            try:
                await asyncio.sleep(60)
            finally:
                self.left.set()
        failure = self.failures.pop() if self.failures else self.fails_always
        if failure is not None:
            await context.abort(code_of(failure), message_of(failure), trailers_of(failure, "id"))
        results = [_result(index, each.text) for index, each in enumerate(request.documents)]
        results.sort(key=lambda each: -each.score.logit)
        return rerank_pb2.RerankResponse(
            results=results,
            model=self.model,
            own_first_stage_weight=0.25,
            timings=results_pb2.StageTimings(tokenize_us=1000, queue_us=2000),
            usage=results_pb2.RerankUsage(pairs=len(results), tokens=9, cached_pairs=1),
            query_truncated=request.query == "long",
        )

    def StreamRerank(self, request_iterator: Any, context: Any) -> Any:
        raise NotImplementedError

    async def say(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.ServingStatus
        await self.health.set(SERVICE, status.SERVING if serving else status.NOT_SERVING)


def _result(index: int, text: str) -> rerank_pb2.RerankResult:
    if not text:
        failure = TooLong(f"documents[{index}].text", 9, 8)
        return rerank_pb2.RerankResult(
            index=index, status=results_pb2.SCORE_STATUS_FAILED, failure=failure_of(failure)
        )
    score = results_pb2.Score(logit=len(text), probability=0.5, ordering=len(text))
    return rerank_pb2.RerankResult(
        index=index,
        status=results_pb2.SCORE_STATUS_TRUNCATED,
        score=score,
        best_span=results_pb2.Span(start=0, end=len(text)),
    )


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Yield a function that starts a replica, serving unless it is told otherwise."""
    async with AsyncExitStack() as running:

        async def start_one(*, serving: bool = True, **script: Any) -> Replica:
            replica = Replica(**script)
            replica.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            rerank_pb2_grpc.add_RerankServiceServicer_to_server(replica, replica.server)
            health_pb2_grpc.add_HealthServicer_to_server(replica.health, replica.server)
            replica.port = replica.server.add_insecure_port("127.0.0.1:0")
            await replica.say(serving=serving)
            await replica.server.start()
            running.push_async_callback(replica.server.stop, None)
            return replica

        yield start_one


@pytest.fixture
async def ask() -> AsyncIterator[Callable[..., Coroutine[Any, Any, Ranking]]]:
    """Yield a function that ranks over the replicas of the first question."""
    async with AsyncExitStack() as open_channels:
        rerankers: list[Reranker] = []

        async def rank(
            *replicas: Replica,
            query: str = "q",
            candidates: Sequence[Candidate] = (Candidate("a"),),
            max_documents: int = 100,
            seconds: float = 10.0,
            call: Call | None = None,
            **options: Any,
        ) -> Ranking:
            if not rerankers:
                target = "ipv4:" + ",".join(f"127.0.0.1:{each.port}" for each in replicas)
                channel = Replicas(target, Metrics())
                open_channels.push_async_callback(channel.close)
                rerankers.append(Reranker(RemoteScorer(channel, max_documents)))
            asked = RerankOptions(path="rerank", **options)
            call = call or Call(time.monotonic() + seconds)
            return await rerankers[0].rank(query, candidates, asked, call)

        yield rank


Ask = Callable[..., Coroutine[Any, Any, Ranking]]


def of_lengths(*lengths: int, first_stage: bool = False) -> list[Candidate]:
    return [
        Candidate("x" * length, first_stage_score=float(at % 7) if first_stage else None)
        for at, length in enumerate(lengths)
    ]


async def meet(ask: Ask, *replicas: Replica, **options: Any) -> None:
    """Return when all are connected, and forget what that took."""
    async with asyncio.timeout(30):
        while not all(each.requests for each in replicas):
            await ask(*replicas, **options)
    for each in replicas:
        each.requests.clear()
        each.asked.clear()


def indexes(ranking: Ranking) -> list[int]:
    return [each.index for each in ranking.results]


async def test_one_call_brings_scores_spans_failures_usage_and_times(
    start: Start, ask: Ask
) -> None:
    call = Call(time.monotonic() + 10)

    ranking = await ask(await start(), query="long", candidates=of_lengths(2, 0, 3), call=call)

    assert indexes(ranking) == [2, 0, 1]
    best, _, failed = ranking.results
    assert best.score is not None
    assert (best.status, best.score.logit, best.best_span) == (ScoreStatus.TRUNCATED, 3.0, (0, 3))
    assert isinstance(failed.failure, TooLong)
    assert failed.failure.field == "text"
    assert (ranking.model, ranking.own_weight, ranking.query_truncated) == ("length", 0.25, True)
    assert (ranking.usage.pairs, ranking.usage.tokens, ranking.usage.cached_pairs) == (3, 9, 1)
    assert (call.times.tokenize_s, call.times.queue_s) == (0.001, 0.002)
    assert call.times.rerank_s > 0


async def test_candidates_in_several_calls_are_ordered_as_in_one(start: Start, ask: Ask) -> None:
    replicas = [await start(), await start()]
    candidates = of_lengths(*range(1, 24), first_stage=True)

    ranking = await ask(*replicas, candidates=candidates, max_documents=5)
    in_one = Reranker(RemoteScorer(Replicas(f"127.0.0.1:{replicas[0].port}", Metrics()), 100))
    expected = await in_one.rank("q", candidates, RerankOptions(), Call(time.monotonic() + 10))

    assert ranking.results == expected.results
    assert sorted(len(each.documents) for each in replicas[0].requests + replicas[1].requests) == [
        3, 5, 5, 5, 5, 23,
    ]  # fmt: skip
    assert ranking.usage.pairs == 23


async def test_no_call_is_larger_than_any_server_takes(start: Start, ask: Ask) -> None:
    replica = await start()
    texts = [Candidate("x" * 700_000)] * 11

    ranking = await ask(replica, candidates=texts)

    assert len(ranking.results) == 11
    assert max(each.ByteSize() for each in replica.requests) < 4 * 2**20
    assert len(replica.requests) == 3


async def test_replicas_of_different_models_are_not_mixed(start: Start, ask: Ask) -> None:
    replicas = [await start(), await start(model="other")]

    await meet(ask, *replicas, max_documents=1)

    with pytest.raises(Unavailable, match="different models"):
        await ask(candidates=of_lengths(1, 2))


async def test_nothing_to_score_asks_nobody(start: Start, ask: Ask) -> None:
    replica = await start()

    ranking = await ask(replica, candidates=[])

    assert not ranking.results
    assert not replica.requests


async def test_a_replica_that_is_not_serving_gets_no_calls(start: Start, ask: Ask) -> None:
    loading, serving = await start(serving=False), await start()

    for _ in range(20):
        await ask(loading, serving)
    assert (len(loading.requests), len(serving.requests)) == (0, 20)

    await loading.say(serving=True)
    await meet(ask, loading)


async def test_a_replica_that_drains_costs_no_search(start: Start, ask: Ask) -> None:
    draining, serving = await start(), await start()
    await meet(ask, draining, serving)
    draining.fails_always = Unavailable("the server is draining")

    for _ in range(4):
        await ask()

    assert draining.requests
    assert len(serving.requests) == 4


async def test_a_replica_that_dies_with_the_call_costs_no_search(start: Start, ask: Ask) -> None:
    dying, living = await start(), await start()
    await meet(ask, dying, living)
    dying.hangs = True

    calls = [asyncio.create_task(ask()) for _ in range(6)]
    await dying.asked.wait()
    await dying.server.stop(None)

    assert [indexes(await each) for each in calls] == [[0]] * 6
    assert len(living.requests) == 6


async def test_where_one_replica_is_full_another_is_asked(start: Start, ask: Ask) -> None:
    full, free = await start(), await start()
    await meet(ask, full, free)
    full.fails_always = Overloaded("full", retry_after_s=3.0)

    for _ in range(4):
        await ask()

    assert full.requests
    assert len(free.requests) == 4


async def test_where_all_are_full_the_caller_is_told_when_to_come_back(
    start: Start, ask: Ask
) -> None:
    replicas = [await start(fails_always=Overloaded("full", retry_after_s=3.0)) for _ in range(2)]

    with pytest.raises(Overloaded) as refusal:
        await ask(*replicas)

    assert refusal.value.retry_after_s == 3.0
    assert sum(len(each.requests) for each in replicas) == 4


async def test_what_is_wrong_with_the_request_is_not_asked_twice(start: Start, ask: Ask) -> None:
    replica = await start(failures=[ModelNotFound("x", ["length"])])

    with pytest.raises(ModelNotFound, match="available: length"):
        await ask(replica)

    assert len(replica.requests) == 1


async def test_a_field_is_named_as_the_callers_request_calls_it(start: Start, ask: Ask) -> None:
    replica = await start(failures=[InvalidArgument("options.instruction", "is not taken")])

    with pytest.raises(InvalidArgument, match=r"rerank\.instruction is not taken") as refusal:
        await ask(replica)

    assert refusal.value.field == "rerank.instruction"


async def test_without_any_replica_a_caller_is_told_to_come_back(ask: Ask) -> None:
    with pytest.raises(Unavailable, match="no rerank replica") as refusal:
        await ask(Replica(port=1))

    assert refusal.value.retry_after_s == 1.0


async def test_without_any_replica_a_partial_call_keeps_the_first_stages_order(ask: Ask) -> None:
    ranking = await ask(
        Replica(port=1), candidates=of_lengths(1, 2, 3, first_stage=True), partial=True
    )

    assert ranking.partial
    assert ranking.results == [Ranked(index, ScoreStatus.DEADLINE) for index in (2, 1, 0)]


async def test_an_answer_that_does_not_come_is_not_waited_for(start: Start, ask: Ask) -> None:
    with pytest.raises(DeadlineExceeded):
        await ask(await start(hangs=True), seconds=0.3)


async def test_a_partial_call_keeps_the_first_stages_order_where_no_answer_comes(
    start: Start, ask: Ask
) -> None:
    replica = await start(hangs=True)

    ranking = await ask(
        replica, candidates=of_lengths(1, 2, first_stage=True), seconds=0.5, partial=True
    )

    assert ranking.partial
    assert [each.status for each in ranking.results] == [ScoreStatus.DEADLINE] * 2
    assert indexes(ranking) == [1, 0]


async def test_a_replica_knows_the_calls_name_its_owner_and_its_deadline(
    start: Start, ask: Ask
) -> None:
    replica = await start()
    call = Call(time.monotonic() + 20, tenant="größe", request_id="r-1")

    await ask(replica, call=call)

    [context] = replica.contexts
    metadata = dict(context.invocation_metadata())
    assert metadata["x-request-id"] == "r-1"
    assert metadata["x-finesieve-tenant-bin"].decode() == "größe"


async def test_a_caller_who_leaves_takes_the_replicas_work_along(start: Start, ask: Ask) -> None:
    replica = await start(hangs=True)
    call = asyncio.create_task(ask(replica))
    await replica.asked.wait()

    call.cancel()

    async with asyncio.timeout(10):
        await replica.left.wait()
