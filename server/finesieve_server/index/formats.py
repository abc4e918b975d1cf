"""Bring a database that an earlier version wrote to this version's format, whole or not at all.

A format is a number that the database carries. Whoever owns the tables gives the steps.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import apsw
import structlog

from finesieve_server.errors import DataLoss, FailedPrecondition
from finesieve_server.index.database import transaction
from finesieve_server.index.progress import Progress

Step = Callable[[apsw.Connection, Progress], None]  # makes format n + 1 of format n

_log = structlog.get_logger(__name__)


def upgrade(
    connection: apsw.Connection,
    path: Path,
    newest: int,
    steps: Mapping[int, Step],
    progress: Progress,
) -> None:
    """Run the steps from the database's format to the newest, in one transaction.

    What `progress` raises ends it, and nothing has changed.

    Raises FailedPrecondition where a newer version wrote it, DataLoss where nothing did.
    """
    found = format_of(connection, path, newest)
    if found == newest:
        return
    _log.info("upgrade started", file=str(path), format=found, to=newest)
    with transaction(connection):
        for number in range(found, newest):
            steps[number](connection, progress)
        connection.execute(f"PRAGMA user_version = {newest}")
    _log.info("upgrade finished", file=str(path), format=newest)


def format_of(connection: apsw.Connection, path: Path, newest: int) -> int:
    """Return the database's format, which is `newest` or one that can be upgraded to it."""
    found: int = connection.execute("PRAGMA user_version").get
    if not found:
        raise DataLoss(f"{path} is damaged: it holds nothing")
    if not 0 < found <= newest:
        raise FailedPrecondition(
            f"{path} has format {found}; this server reads formats up to {newest}: "
            "open it with the version that wrote it, or start with another data directory"
        )
    return found
