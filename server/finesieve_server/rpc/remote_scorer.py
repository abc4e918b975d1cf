"""Score candidates on rerank replicas: a Search's second stage, over the same RerankService."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from finesieve.v1 import rerank_pb2, results_pb2
from finesieve_server.batching.plan import Priority
from finesieve_server.errors import (
    DeadlineExceeded,
    FinesieveError,
    InvalidArgument,
    ModelFailure,
    Unavailable,
)
from finesieve_server.rpc.replicas import Replicas
from finesieve_server.rpc.status import error_from_failure
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.pairs import LongPassage
from finesieve_server.search.ranking import Ranked, Score, Scored, ScoreStatus, Usage

# Of one request, the query and the field's own bytes aside: any gRPC server takes 4 MiB.
_MAX_DOCUMENTS_BYTES = 3 * 1024 * 1024

_LONG_PASSAGES = {
    LongPassage.TRUNCATE: rerank_pb2.LONG_PASSAGE_TRUNCATE,
    LongPassage.CHUNK: rerank_pb2.LONG_PASSAGE_CHUNK,
    LongPassage.FAIL: rerank_pb2.LONG_PASSAGE_FAIL,
}
_PRIORITIES = {
    Priority.INTERACTIVE: rerank_pb2.PRIORITY_INTERACTIVE,
    Priority.BULK: rerank_pb2.PRIORITY_BULK,
}
_STATUSES: dict[int, ScoreStatus] = {
    results_pb2.SCORE_STATUS_SCORED: ScoreStatus.SCORED,
    results_pb2.SCORE_STATUS_TRUNCATED: ScoreStatus.TRUNCATED,
    results_pb2.SCORE_STATUS_DEADLINE: ScoreStatus.DEADLINE,
    results_pb2.SCORE_STATUS_FAILED: ScoreStatus.FAILED,
}


class RemoteScorer:
    """A `Scorer` over replicas.

    A score depends on its pair alone, so candidates may go to several replicas, and the order that
    is made of all scores here is the one that a single call would have given.
    """

    def __init__(self, replicas: Replicas, max_documents: int) -> None:
        """Ask for at most so many documents at a time; replicas must take as many."""
        self._replicas = replicas
        self._max_documents = max_documents

    def tokens_key(self, options: RerankOptions) -> str:  # noqa: ARG002 - a Scorer's
        """Nothing is kept for a replica's model: it reads texts."""
        return ""

    async def score(
        self,
        query: str,
        candidates: Sequence[Candidate],
        options: RerankOptions,
        call: Call,
        scored_by: float,
    ) -> Scored:
        """Raises what a replica says of the request, Overloaded where all are full, and Unavailable
        where none can be reached; a partial call then has no scores."""
        requests = [
            rerank_pb2.RerankRequest(query=query, documents=part, options=_options(options))
            for part in self._parts(candidates)
        ]
        with call.times.measure("rerank"):
            answers = await _all(
                [self._answer(request, options, call, scored_by) for request in requests]
            )
        judged: list[Ranked] = []
        for request, answer in zip(requests, answers, strict=True):
            judged += _judged(answer, len(judged), len(request.documents))
        return _scored(judged, [each for each in answers if each is not None], call)

    def _parts(self, candidates: Sequence[Candidate]) -> Iterator[list[rerank_pb2.Document]]:
        """Yield the candidates, in order, in as few parts as the limits allow."""
        part: list[rerank_pb2.Document] = []
        part_bytes = 0
        for each in candidates:
            document = rerank_pb2.Document(text=each.text, title=each.title)
            size = document.ByteSize()
            full = len(part) == self._max_documents or part_bytes + size > _MAX_DOCUMENTS_BYTES
            if part and full:
                yield part
                part, part_bytes = [], 0
            part.append(document)
            part_bytes += size
        if part:
            yield part

    async def _answer(
        self, request: rerank_pb2.RerankRequest, options: RerankOptions, call: Call, by: float
    ) -> rerank_pb2.RerankResponse | None:
        """Return a replica's answer; None where none came in time and the call may be partial."""
        try:
            return await self._replicas.rerank(request, call, by)
        except (DeadlineExceeded, Unavailable):
            if options.partial:
                return None
            raise
        except InvalidArgument as error:
            if error.field.startswith("options."):
                error.move(options.path + error.field.removeprefix("options"))
            raise


async def _all(
    answers: Sequence[Coroutine[Any, Any, rerank_pb2.RerankResponse | None]],
) -> list[rerank_pb2.RerankResponse | None]:
    """Return every answer, or raise the first failure: then nobody waits for the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in answers]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _options(options: RerankOptions) -> rerank_pb2.RerankOptions:
    """Return what concerns a pair's score; the order and what it leaves out are made here."""
    return rerank_pb2.RerankOptions(
        model=options.model,
        instruction=options.instruction,
        max_passage_tokens=options.max_passage_tokens,
        long_passage=_LONG_PASSAGES[options.long_passage],
        on_deadline=(
            rerank_pb2.ON_DEADLINE_PARTIAL if options.partial else rerank_pb2.ON_DEADLINE_FAIL
        ),
        priority=_PRIORITIES[options.priority],
        max_chunks=options.max_chunks,
    )


def _judged(answer: rerank_pb2.RerankResponse | None, first: int, documents: int) -> list[Ranked]:
    """Return what was answered of so many candidates from the `first` on, in their order."""
    if answer is None:
        return [Ranked(first + at, ScoreStatus.DEADLINE) for at in range(documents)]
    results = sorted(answer.results, key=lambda each: each.index)
    if [each.index for each in results] != list(range(documents)):
        raise ModelFailure(f"a replica answered for {len(results)} documents of {documents}")
    return [_ranked(each, first) for each in results]


def _ranked(result: rerank_pb2.RerankResult, first: int) -> Ranked:
    score = result.score
    return Ranked(
        first + result.index,
        _STATUSES[result.status],
        Score(score.logit, score.probability, ordering=score.logit)
        if result.HasField("score")
        else None,
        (result.best_span.start, result.best_span.end) if result.HasField("best_span") else None,
        _failure(result) if result.HasField("failure") else None,
    )


def _failure(result: rerank_pb2.RerankResult) -> FinesieveError:
    """Return why a document failed, its field named from the document on."""
    failure = error_from_failure(result.failure)
    failure.field = failure.field.removeprefix(f"documents[{result.index}].")
    return failure


def _scored(
    judged: Sequence[Ranked], answers: Sequence[rerank_pb2.RerankResponse], call: Call
) -> Scored:
    """Put the answers together. Raises Unavailable where they are of more than one model."""
    models = {(each.model, each.own_first_stage_weight) for each in answers}
    if len(models) > 1:
        raise Unavailable(f"replicas hold different models: {sorted(models)}")
    [(model, own_weight)] = models or {("", 0.0)}
    for stage in ("tokenize", "queue"):
        longest_us = max((getattr(each.timings, f"{stage}_us") for each in answers), default=0)
        call.times.add(stage, longest_us / 1e6)
    return Scored(
        judged,
        model,
        own_weight,
        query_truncated=any(each.query_truncated for each in answers),
        usage=Usage(
            pairs=sum(each.usage.pairs for each in answers),
            tokens=sum(each.usage.tokens for each in answers),
            cached_pairs=sum(each.usage.cached_pairs for each in answers),
        ),
    )
