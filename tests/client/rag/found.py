"""Search hits as a server would give them."""

from collections.abc import Sequence

from finesieve.v1.results_pb2 import Hit, Score, Span
from finesieve.v1.search_pb2 import SearchHit, SearchResponse
from finesieve_client import passage
from finesieve_client.rag.sources import Source

EELS = "European eels spawn in the Sargasso Sea. Their larvae drift back for two years."
TROUT = "Trout spawn in cold rivers. They bury their eggs in gravel."
TAXES = "Taxes are due in April. Late payment costs interest."


def hit(
    text: str,
    *,
    id: str = "p1",
    title: str = "",
    probability: float | None = 0.9,
    best: tuple[int, int] | None = None,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> SearchHit:
    found = Hit(passage=passage(id, text, title=title, document_id=f"{id}.md"))
    if probability is not None:
        found.score.CopyFrom(Score(probability=probability))
    if best is not None:
        found.best_span.CopyFrom(Span(start=best[0], end=best[1]))
    return SearchHit(
        hit=found,
        before=[passage(f"{id}-before{at}", each) for at, each in enumerate(before)],
        after=[passage(f"{id}-after{at}", each) for at, each in enumerate(after)],
    )


def hits(*texts: str) -> list[SearchHit]:
    return [hit(text, id=f"p{at}") for at, text in enumerate(texts, start=1)]


def sources(*found: SearchHit) -> list[Source]:
    return [Source.of(number, each) for number, each in enumerate(found, start=1)]


def response(*texts: str) -> SearchResponse:
    return SearchResponse(hits=hits(*texts))
