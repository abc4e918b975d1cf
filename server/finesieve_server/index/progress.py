"""Tell the log how far long work has come: as each step begins, and every few seconds."""

import time
from collections.abc import Callable

import structlog

PROGRESS_S = 5.0

Progress = Callable[[str, int, int], None]  # which step, how much of it is done, of how much

_log = structlog.get_logger(__name__)


def logged(event: str, **fields: object) -> Progress:
    """Return what tells the log, under this event and with these fields."""
    told_step, told_s = "", 0.0

    def progress(step: str, done: int, of: int) -> None:
        nonlocal told_step, told_s
        if step != told_step or time.monotonic() - told_s > PROGRESS_S:
            told_step, told_s = step, time.monotonic()
            _log.info(event, step=step, done=done, of=of, **fields)

    return progress
