"""Hold what goes to a language model and what comes back, with what it cost."""

from dataclasses import dataclass
from typing import Literal

PRICED_TOKENS = 1_000_000


class LlmError(Exception):
    """A call that no answer came of; the message says what to do.

    `status_code` is the endpoint's HTTP status; None where there was none. What the `openai`
    package raised is the `__cause__`.
    """

    def __init__(self, message: str, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in any currency."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what these tokens cost."""
        spent = prompt_tokens * self.prompt + completion_tokens * self.completion
        return spent / PRICED_TOKENS


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls took, as the endpoint counts; `cost` by the prices given, 0 without."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer.

    `finish_reason` is "stop" for a whole answer, "length" for one cut at `max_tokens`, and empty
    where the endpoint did not say. `refusal` is what the model said instead of an answer.
    """

    text: str
    usage: Usage
    finish_reason: str = ""
    refusal: str = ""
