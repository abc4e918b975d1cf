"""Documents on their way into a collection: what one is, and what one call takes of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from finesieve.v1.passages_pb2 import Passage
from finesieve_client.batches import BATCH_BYTES, BATCH_ROWS

MOST_PASSAGES = 256  # of one document in one call: some seconds of embedding on two cores
MOST_DOCUMENTS = 64  # of one call


@dataclass(frozen=True, slots=True)
class Document:
    """One document, cut; `warnings` say what is to be known of how it was read."""

    id: str
    path: str
    passages: Sequence[Passage]
    warnings: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """Return how much of a call it takes."""
        return sum(passage.ByteSize() for passage in self.passages)

    @property
    def fits_into_one_call(self) -> bool:
        """Tell whether it can be replaced as a whole."""
        return len(self.passages) <= MOST_PASSAGES and self.num_bytes <= BATCH_BYTES


@dataclass(frozen=True, slots=True)
class BadDocument:
    """One document that is not stored, and why.

    `emptied_id`: its id where it holds no text any more, so that what is stored of it goes.
    """

    path: str
    reason: str
    emptied_id: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of some documents; grows by `+=`. `stored` and `removed` count passages."""

    documents: int = 0
    unchanged: int = 0
    stored: int = 0
    removed: int = 0
    bad: list[BadDocument] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)

    def __iadd__(self, other: "Outcome") -> Self:
        """Take in what became of other documents."""
        self.documents += other.documents
        self.unchanged += other.unchanged
        self.stored += other.stored
        self.removed += other.removed
        self.bad += other.bad
        self.warnings += other.warnings
        return self

    @property
    def done(self) -> int:
        """Return how many documents these were."""
        return self.documents + self.unchanged + len(self.bad)


def batches(
    documents: Iterable[Document | BadDocument | None],
) -> Iterator[list[Document | BadDocument]]:
    """Yield documents in their order, as many as one call takes; a long one is alone.

    None among them is a pause: what there is by then, maybe nothing, is a batch.
    """
    batch: list[Document | BadDocument] = []
    rows = size = 0
    for each in documents:
        more_rows = len(each.passages) if isinstance(each, Document) else 0
        more = each.num_bytes if isinstance(each, Document) else 0
        has_room = rows + more_rows <= BATCH_ROWS and size + more <= BATCH_BYTES
        if each is None or (batch and not (has_room and len(batch) < MOST_DOCUMENTS)):
            yield batch
            batch, rows, size = [], 0, 0
        if each is not None:
            batch.append(each)
            rows, size = rows + more_rows, size + more
    if batch:
        yield batch


def parts(passages: Sequence[Passage]) -> Iterator[Sequence[Passage]]:
    """Yield passages in runs of what one call takes."""
    start = size = 0
    for at, passage in enumerate(passages):
        if at > start and (at - start == BATCH_ROWS or size + passage.ByteSize() > BATCH_BYTES):
            yield passages[start:at]
            start, size = at, 0
        size += passage.ByteSize()
    if start < len(passages):
        yield passages[start:]
