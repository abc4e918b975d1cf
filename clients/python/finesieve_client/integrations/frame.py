"""Stand between a framework and the server, whichever it is: options, calls, hits, errors.

All frameworks here tell bad input by ValueError, which pydantic makes its ValidationError. So do
we: for options that there are not, and for what the server calls INVALID_ARGUMENT. Every other
`FinesieveError` reaches the caller as it is.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from finesieve.v1.rerank_pb2 import Document, RerankResponse, RerankResult
from finesieve.v1.results_pb2 import Hit, ScoreStatus
from finesieve.v1.search_pb2 import SearchHit, SearchResponse
from finesieve_client.async_client import AsyncClient
from finesieve_client.calls import ranking
from finesieve_client.calls.call import Call
from finesieve_client.client import Client
from finesieve_client.contract import Response
from finesieve_client.errors import InvalidArgument
from finesieve_client.options import SearchOptions, SecondStage, check_names
from finesieve_client.passages import metadata_of

KEY = "finesieve"  # below which a document's metadata holds what the server said of it
SECOND_STAGE = ("status", "logit", "probability", "ordering", "best_span", "failure")


class RerankOptions(SecondStage, total=False):
    """How documents are ordered: what `Client.rerank` takes.

    With `first_stage_weight` the documents' own scores count, so each must have one.
    """

    top_n: int


@dataclass(frozen=True, slots=True)
class Clients:
    """What the server is asked through; a `Client` alone answers asyncio from a thread."""

    client: Client | None
    async_client: AsyncClient | None

    def __post_init__(self) -> None:
        if self.client is None and self.async_client is None:
            raise ValueError("client is missing; give a Client, an async_client or both")
        for name, given, kind in (
            ("client", self.client, Client),
            ("async_client", self.async_client, AsyncClient),
        ):
            if given is not None and not isinstance(given, kind):
                raise ValueError(f"{name} is a {type(given).__name__}, not a {kind.__name__}")

    def call(self, call: Call[Response]) -> Response:
        """Make one call and return its answer."""
        if self.client is None:
            raise ValueError("only async_client is given; a call without await needs a client")
        with bad_input(InvalidArgument):
            return self.client.call(call)

    async def await_call(self, call: Call[Response]) -> Response:
        """Make one call and return its answer."""
        if self.async_client is None:
            return await asyncio.to_thread(self.call, call)
        with bad_input(InvalidArgument):
            return await self.async_client.call(call)


@contextmanager
def bad_input(kind: type[Exception]) -> Iterator[None]:
    """Raise as ValueError what says, by this kind of error, that the input is wrong."""
    try:
        yield
    except kind as error:
        raise ValueError(str(error)) from error


def search(collection: str, query: str, options: SearchOptions) -> Call[SearchResponse]:
    """Return the search to make; raises ValueError for what no search can be."""
    _check_string("collection", collection)
    if not collection:
        raise ValueError("collection is empty; name one")
    _check_string("query", query)
    with bad_input(TypeError):
        return ranking.search(collection, query, **options)


def rerank(
    query: str, texts: Sequence[str], scores: Sequence[float | None], options: RerankOptions
) -> Call[RerankResponse]:
    """Return the reranking of these texts; raises ValueError for what none can be."""
    _check_string("query", query)
    blended = options.get("first_stage_weight") is not None
    if blended and None in scores:
        raise ValueError("first_stage_weight is given, but not every document has a score")
    documents = [
        Document(text=text, first_stage_score=score if blended else None)
        for text, score in zip(texts, scores, strict=True)
    ]
    with bad_input(TypeError):
        return ranking.rerank(query, documents, **options)


def checked_search(options: SearchOptions, collection: str = "any") -> SearchOptions:
    """Return the options of searches to come; raises ValueError where they can only fail."""
    _check_names(options, SearchOptions)
    search(collection, "", options)
    return SearchOptions(**options)


def checked_rerank(options: RerankOptions) -> RerankOptions:
    """Return the options of rerankings to come; raises ValueError where they can only fail."""
    _check_names(options, RerankOptions)
    rerank("", [], [], options)
    return RerankOptions(**options)


@dataclass(frozen=True, slots=True)
class Found:
    """One hit as a document: its text with its window, its metadata, how relevant it is.

    `score` is the calibrated probability, of a search without reranking the first stage's score,
    and None where the hit could not be scored.
    """

    id: str
    text: str
    metadata: dict[str, Any]
    score: float | None

    @classmethod
    def of(cls, found: SearchHit) -> "Found":
        """Return what a hit says."""
        hit, passage = found.hit, found.hit.passage
        before = "".join(f"{each.text}\n" for each in found.before)
        after = "".join(f"\n{each.text}" for each in found.after)
        own = {"title": passage.title, "document_id": passage.document_id}
        return cls(
            id=passage.id,
            text=f"{before}{passage.text}{after}",
            metadata={
                **{name: value for name, value in own.items() if value},
                **metadata_of(passage),
                KEY: {
                    "id": passage.id,
                    "document_id": passage.document_id,
                    "rank": hit.rank,
                    "retrieval_rank": hit.retrieval_rank,
                    "retrieval_score": hit.retrieval_score,
                    "passage_span": (len(before), len(before) + len(passage.text)),
                    **_said(hit, len(before)),
                },
            },
            score=_score(hit),
        )


def found_by(response: SearchResponse) -> list[Found]:
    """Return a search's hits, best first."""
    return [Found.of(found) for found in response.hits]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Where reranking put one of the documents given: its index among them, score, metadata."""

    index: int
    score: float | None
    said: dict[str, Any]

    def metadata(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return a document's metadata with what the server says; itself stays as it is."""
        earlier = own.get(KEY)
        kept = earlier if isinstance(earlier, Mapping) else {}
        found = {name: value for name, value in kept.items() if name not in SECOND_STAGE}
        return {**own, KEY: {**found, **self.said}}


def ranked_by(response: RerankResponse) -> list[Ranked]:
    """Return a reranking's results, best first."""
    return [
        Ranked(result.index, _score(result), {"rank": rank, **_said(result, 0)})
        for rank, result in enumerate(response.results, start=1)
    ]


def _said(result: Hit | RerankResult, offset: int) -> dict[str, Any]:
    """Return what the second stage says of a text; its span counts from `offset`."""
    said: dict[str, Any] = {}
    if result.status:
        said["status"] = ScoreStatus.Name(result.status).removeprefix("SCORE_STATUS_").lower()
    if result.HasField("score"):
        score = result.score
        said |= {"logit": score.logit, "probability": score.probability, "ordering": score.ordering}
    if result.HasField("best_span"):
        said["best_span"] = (offset + result.best_span.start, offset + result.best_span.end)
    if result.HasField("failure"):
        said["failure"] = result.failure.message
    return said


def _score(result: Hit | RerankResult) -> float | None:
    if result.HasField("score"):
        return result.score.probability
    if isinstance(result, Hit) and not result.status:
        return result.retrieval_score
    return None


def _check_names(options: object, kind: type) -> None:
    if not isinstance(options, Mapping):
        raise ValueError(f"options are a {type(options).__name__}; a mapping is needed")
    with bad_input(TypeError):
        check_names(options, kind)


def _check_string(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is a {type(value).__name__}; a string is needed")
