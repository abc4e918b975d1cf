"""Name what the index takes and gives, and what a batch of it must be: plain values, no I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from finesieve_server.errors import DuplicateId, EmptyField

JsonScalar: TypeAlias = str | float | int | bool | None
JsonValue: TypeAlias = JsonScalar | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
Embedding: TypeAlias = NDArray[np.float32]  # (dimension,)
Matrix: TypeAlias = NDArray[np.float32]  # (rows, dimension)
Labels: TypeAlias = NDArray[np.int64]  # the store's numbers of passages
Scores: TypeAlias = NDArray[np.float32]


class Distance(Enum):
    """How near two embeddings are; the scores are cosine, dot product, minus squared L2."""

    COSINE = "cosine"
    DOT = "dot"
    L2 = "l2"


class View(Enum):
    """How much of a passage comes back."""

    ID = "id"
    FULL = "full"  # everything but the embedding
    WITH_EMBEDDING = "with_embedding"


class State(Enum):
    """Whether a collection answers, and how fast."""

    READY = "ready"
    REBUILDING = "rebuilding"  # right answers, slower, while the graph is made again
    DAMAGED = "damaged"  # calls raise DataLoss


@dataclass(frozen=True, slots=True)
class HnswOptions:
    """How the graph is built and searched (Malkov & Yashunin 2016, arXiv:1603.09320)."""

    m: int = 16  # links per node
    ef_construction: int = 200  # candidates kept while building
    # Candidates kept while searching, where the request names none. On 100,000 real embeddings, 64
    # found 0.989 of the ten nearest and 96 found 0.994 (make bench-retrieval).
    ef_search: int = 96


# Not frozen, like Found: each hit makes one, and a frozen one takes four times as long to make.
@dataclass(slots=True)
class Passage:
    """One retrievable piece of text, as its owner wrote it."""

    id: str
    text: str = ""
    title: str = ""
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    document_id: str = ""
    ordinal: int = 0  # position within the document
    parent_id: str = ""
    embedding: Embedding | None = None
    context_only: bool = False  # kept for windows and merging, never found by search


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What is fixed when a collection is created."""

    name: str
    embedding_model: str
    fingerprint: str
    dimension: int
    distance: Distance
    hnsw: HnswOptions
    caller_embeds: bool


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection is at this moment; times are UTC."""

    spec: CollectionSpec
    passage_count: int
    create_time: datetime
    update_time: datetime
    state: State


@dataclass(frozen=True, slots=True)
class Upserted:
    """How many passages of a batch were new, and how many took an older one's place.

    `removed` others stood in the batch's documents, where it was to replace those.
    """

    inserted: int
    updated: int
    removed: int = 0


@dataclass(slots=True)
class Found:
    """A passage and how near it is to the query: higher is better.

    `tokens` is what was kept with it under the key that the search named.
    """

    passage: Passage
    score: float
    tokens: bytes | None = None


class FoundIds(Sequence[Found]):
    """What was found, best first, as ids and scores: all that many want of it.

    A record of each takes longer to make than the graph takes to come upon it, so that there is
    one only of those that somebody looks at.
    """

    __slots__ = ("ids", "scores")

    def __init__(self, ids: Sequence[str], scores: Sequence[float]) -> None:
        """Take as many scores as ids."""
        self.ids = ids
        self.scores = scores

    def there(self) -> "FoundIds":
        """Return those that have an id."""
        kept = [(id_, score) for id_, score in zip(self.ids, self.scores, strict=True) if id_]
        return FoundIds([id_ for id_, _ in kept], [score for _, score in kept])

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Found]:
        return map(Found, map(Passage, self.ids), self.scores)

    @overload
    def __getitem__(self, at: int) -> Found: ...
    @overload
    def __getitem__(self, at: slice) -> "FoundIds": ...
    def __getitem__(self, at: int | slice) -> "Found | FoundIds":
        if isinstance(at, slice):
            return FoundIds(self.ids[at], self.scores[at])
        return Found(Passage(self.ids[at]), self.scores[at])


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What stands around a passage in its document, in document order."""

    before: Sequence[Passage] = ()
    after: Sequence[Passage] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A passage that others name as their parent, and how many they are."""

    parent: Passage
    children: int


@dataclass(frozen=True, slots=True)
class Untokenized:
    """Passages that lack kept tokens, found on a walk over all labels."""

    labels: Sequence[int]
    passages: Sequence[tuple[str, str]]  # title and text
    through: int  # the last label that was looked at
    is_last: bool  # whether the walk ends there


def level_of(*, context_only: bool, parent_id: str) -> int:
    """Return the level on which a passage has its neighbours.

    0: what search finds; of what is kept for context, 2 at the top of its document, 1 below.
    """
    return 1 + (not parent_id) if context_only else 0


def require_distinct(passages: Sequence[Passage]) -> None:
    """Raise DuplicateId, naming passages[i], where two of a batch have one id."""
    first_with: dict[str, int] = {}
    for position, passage in enumerate(passages):
        earlier = first_with.setdefault(passage.id, position)
        if earlier != position:
            raise DuplicateId(f"passages[{position}].id", f"is that of passages[{earlier}]")


def require_documents(passages: Sequence[Passage]) -> None:
    """Raise EmptyField, naming passages[i], where one of a batch belongs to no document."""
    for position, passage in enumerate(passages):
        if not passage.document_id:
            raise EmptyField(
                f"passages[{position}].document_id", "is empty; which document is to be replaced?"
            )
