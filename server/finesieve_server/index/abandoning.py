"""Let a read end early once nobody waits for it."""

from collections.abc import Callable

from finesieve_server.errors import Unavailable

Abandoned = Callable[[], bool]  # whether the caller of a read has given up


def require_wanted(abandoned: Abandoned) -> None:
    """Raise Unavailable, which nobody will see, once the caller has given up."""
    if abandoned():
        raise Unavailable("nobody waits for this any more")
