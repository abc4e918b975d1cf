"""Say how to install a library that only one of finesieve's extras brings."""


class MissingExtra(ImportError):
    """A library of an extra that is not installed."""


def missing_extra(need: str, library: str, extra: str) -> MissingExtra:
    """Return the error for something that needs a library, such as "reading documents needs"."""
    return MissingExtra(f"{need} {library}: pip install 'finesieve[{extra}]'")
