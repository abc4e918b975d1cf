"""Turn keyword arguments into the contract's option messages; what is left out, the server decides.

Names are the contract's own; an enum's value is its last word, such as `view="id"`.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal, TypedDict, TypeVar

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from finesieve.v1.passages_pb2 import Filter
from finesieve.v1.rerank_pb2 import LongPassage, OnDeadline, Priority, RerankOptions
from finesieve.v1.results_pb2 import RetrievalMode, RetrievalOptions
from finesieve_client.filters import Condition

View = Literal["id", "full", "with_embedding"]
DistanceName = Literal["cosine", "dot", "l2"]
Role = Literal["query", "passage"]
Mode = Literal["dense", "lexical", "hybrid"]


Item = TypeVar("Item")


class FirstStage(TypedDict, total=False):
    """How the first stage finds candidates.

    `filter`: only passages that meet this condition. `mode`: nearest neighbours (dense),
    shared words by BM25 (lexical), or both fused (hybrid).
    `ef_search`: candidates that the graph is walked with; more: better recall, more time.
    `exact`: compare with every passage instead.
    """

    filter: Condition | Filter | None
    mode: Mode
    ef_search: int
    exact: bool


class SecondStage(TypedDict, total=False):
    """How the second stage scores them.

    `model`: the cross-encoder. `long_passage`: cut it, score its chunks, or fail it.
    `on_deadline`: fail, or answer in time with what is scored. `priority`: bulk work waits for
    interactive work. `min_probability`: leave out hits below. `max_passage_tokens`, `max_chunks`:
    how much of a passage is read. `first_stage_weight`: share of the first stage's score in the
    order, 0..1; 0: the cross-encoder alone; left out: the model's own. `instruction`: what
    counts as relevant, for models that take one; left out: the model's own.
    """

    model: str
    max_passage_tokens: int
    long_passage: Literal["truncate", "chunk", "fail"]
    on_deadline: Literal["fail", "partial"]
    priority: Literal["interactive", "bulk"]
    min_probability: float
    instruction: str
    max_chunks: int
    first_stage_weight: float


class BothStages(FirstStage, SecondStage, total=False):
    """How both stages of a search work."""


class SearchOptions(BothStages, total=False):
    """How passages are found for a text that is read: what `Client.search` takes."""

    retrieve_k: int
    top_n: int
    skip_rerank: bool
    window: int
    merge_share: float
    diversity: float | None


def retrieval_options(options: FirstStage) -> RetrievalOptions:
    """Return the first stage's options as a message; raises TypeError for one it does not have."""
    check_names(options, FirstStage)
    return RetrievalOptions(
        mode=label("mode", RetrievalMode, options.get("mode")),
        ef_search=whole("ef_search", options.get("ef_search", 0)),
        exact=options.get("exact", False),
    )


def rerank_options(options: SecondStage) -> RerankOptions:
    """Return the second stage's options as a message; raises TypeError as above."""
    check_names(options, SecondStage)
    return RerankOptions(
        model=options.get("model"),
        max_passage_tokens=whole("max_passage_tokens", options.get("max_passage_tokens", 0)),
        long_passage=label("long_passage", LongPassage, options.get("long_passage")),
        on_deadline=label("on_deadline", OnDeadline, options.get("on_deadline")),
        priority=label("priority", Priority, options.get("priority")),
        min_probability=options.get("min_probability"),
        instruction=options.get("instruction"),
        max_chunks=whole("max_chunks", options.get("max_chunks", 0)),
        first_stage_weight=options.get("first_stage_weight"),
    )


def split_stages(options: BothStages) -> tuple[FirstStage, SecondStage]:
    """Return which options are the first stage's and which the second's; raises TypeError."""
    check_names(options, BothStages)
    first = {name: value for name, value in options.items() if name in FirstStage.__annotations__}
    second = {name: value for name, value in options.items() if name not in first}
    return FirstStage(**first), SecondStage(**second)  # type: ignore[typeddict-item]


def label(field: str, enum: EnumTypeWrapper, word: str | None) -> str:
    """Return an enum's label for its last word; raises ValueError naming the words allowed."""
    unspecified: str = enum.keys()[0]
    prefix = unspecified.removesuffix("UNSPECIFIED")
    chosen = f"{prefix}{word.upper()}" if word else unspecified
    if chosen not in enum.keys():  # noqa: SIM118  an EnumTypeWrapper is no container
        allowed = ", ".join(key.removeprefix(prefix).lower() for key in enum.keys()[1:])
        raise ValueError(f"{field} is {word!r}; allowed: {allowed}")
    return chosen


def several(field: str, items: Iterable[Item]) -> Iterable[Item]:
    """Return items; raises TypeError for a string, which would count as its letters."""
    if isinstance(items, str | bytes):
        raise TypeError(f"{field} is one string; a list of them is needed: [{items[:20]!r}]")
    return items


def whole(field: str, number: int) -> int:
    """Return a count; raises ValueError where the contract's unsigned field cannot hold it."""
    if not 0 <= number < 2**32:
        raise ValueError(f"{field} is {number}; it is a count, and 0 means the server's default")
    return number


def check_names(options: Iterable[str], kind: type) -> None:
    """Raise TypeError for an option that is not of this kind: Python checks no TypedDict."""
    known = kind.__annotations__
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise TypeError(f"unexpected option {name!r}; {meant}")
