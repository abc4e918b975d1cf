"""Name what the second stage is given: passages, and how to score and order them."""

from dataclasses import dataclass

from finesieve_server.batching.plan import Priority
from finesieve_server.search.pairs import LongPassage


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage to be ordered, and the first stage's similarity where there is one.

    `tokens` is what ingest kept of it for the cross-encoder that is asked.
    """

    text: str
    title: str = ""
    first_stage_score: float | None = None
    tokens: bytes | None = None


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """How to score and order. Zeros, None and no instruction mean the model's own.

    `path` is where they stand in their request, for errors.
    """

    model: str = ""
    instruction: str = ""
    max_passage_tokens: int = 0
    long_passage: LongPassage = LongPassage.TRUNCATE
    partial: bool = False
    priority: Priority = Priority.INTERACTIVE
    min_probability: float | None = None
    max_chunks: int = 16
    first_stage_weight: float | None = None
    path: str = "options"
