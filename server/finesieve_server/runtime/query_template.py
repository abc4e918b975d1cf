"""Say how a cross-encoder wants its query written: alone, or in words that hold an instruction."""

from dataclasses import dataclass

_QUERY = "{query}"
_INSTRUCTION = "{instruction}"


@dataclass(frozen=True, slots=True)
class QueryTemplate:
    """Text around `{query}`, and for models that take one `{instruction}`; "" is the query alone.

    For instance "<Instruct>: {instruction}\\n<Query>: {query}". Raises ValueError where it is none.
    """

    text: str = ""
    default_instruction: str = ""

    def __post_init__(self) -> None:
        if self.text and self.text.count(_QUERY) != 1:
            raise ValueError(f"query_template {self.text!r} does not hold {_QUERY} once")
        if self.text.count(_INSTRUCTION) > 1:
            raise ValueError(f"query_template {self.text!r} holds {_INSTRUCTION} more than once")
        if self.default_instruction and not self.takes_instruction:
            raise ValueError(f"default_instruction has no {_INSTRUCTION} in query_template")

    @property
    def takes_instruction(self) -> bool:
        return _INSTRUCTION in self.text

    def around(self, instruction: str = "") -> tuple[str, str]:
        """Return what stands before and after a query; "" is the default instruction."""
        before, _, after = self.text.partition(_QUERY)
        instruction = instruction or self.default_instruction
        return before.replace(_INSTRUCTION, instruction), after.replace(_INSTRUCTION, instruction)
