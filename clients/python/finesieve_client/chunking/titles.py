"""Say what a passage's title is: its document's, and the headings that it stands under.

Models read a title before the text, so it may not take more than its share of a passage: then its
outer parts are left out, and where that is not enough, all of it. The text has its headings anyway.
"""

from collections.abc import Iterable

from finesieve_client.chunking.packing import Headings
from finesieve_client.chunking.tokens import CountTokens

SEPARATOR = " › "
MAX_CHARACTERS = 300


class Titles:
    """The titles of one document's passages, each measured once."""

    def __init__(
        self, document: str, headings: Iterable[Headings], most_tokens: int, count: CountTokens
    ) -> None:
        above = {each[:depth] for each in headings for depth in range(len(each) + 1)}
        forms = {each: _forms(document, each) for each in above}
        texts = sorted({form for several in forms.values() for form in several})
        measured = dict(zip(texts, count(texts), strict=True))
        self._tokens = {"": 0, **measured}
        self._titles = {
            each: next((form for form in several if measured[form] <= most_tokens), "")
            for each, several in forms.items()
        }

    def title(self, headings: Headings) -> str:
        """Return the title of what stands under these headings."""
        return self._titles[headings]

    def tokens(self, headings: Headings) -> int:
        """Return the most tokens of a title under these headings or some of them."""
        return max(
            self._tokens[self._titles[headings[:depth]]] for depth in range(len(headings) + 1)
        )


def _forms(document: str, headings: Headings) -> list[str]:
    """Return the title in full, then ever less of its beginning."""
    parts = [" ".join(part.split()) for part in (document, *headings)]
    parts = [part for at, part in enumerate(parts) if part and part not in parts[:at]]
    forms = [SEPARATOR.join(parts[at:]) for at in range(len(parts))]
    return [form for form in forms if len(form) <= MAX_CHARACTERS]
