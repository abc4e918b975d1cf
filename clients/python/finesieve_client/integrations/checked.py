"""Let pydantic check a field by a function of ours: it reads no TypedDict before Python 3.12."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True)
class Checked:
    """In `Annotated[…, Checked(check)]`: the field is what `check` returns or refuses."""

    check: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)
