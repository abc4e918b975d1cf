"""Say why a model cannot be exported, and what to do about it."""


class ExportError(Exception):
    """Something the user can act on; the text says what was seen and what to do."""


class BadCheckpoint(ExportError):
    """The source model is missing something, or holds what we refuse to run."""


class ToleranceMissed(ExportError):
    """The exported model strays further from its source than was allowed."""
