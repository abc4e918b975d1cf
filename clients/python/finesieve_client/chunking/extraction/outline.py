"""Follow a document's headings: which ones stand over what comes next."""


class Outline:
    """The headings over the place that a reader has come to.

    A first heading of the first level is the document's title, and no section of it.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._open: list[tuple[int, str]] = []

    @property
    def headings(self) -> tuple[str, ...]:
        """Return the headings, outermost first."""
        return tuple(text for _, text in self._open)

    def enter(self, level: int, text: str) -> None:
        """Go on below a heading; level 1 is the outermost."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        if level == 1 and not self.title:
            self.title = text
        if text and text != self.title:
            self._open.append((level, text))
