"""Tell the log how far long work has come: as each step begins, and every few seconds."""

import time
from collections.abc import Callable

import structlog

TELL_FROM_S = 1.0  # what is done sooner is not worth a line
PROGRESS_S = 5.0

Progress = Callable[[str, int, int], None]  # which step, how much of it is done, of how much

_log = structlog.get_logger(__name__)


def logged(event: str, **fields: object) -> Progress:
    """Return what tells the log, under this event and with these fields."""
    told_step, next_s = "", time.monotonic() + TELL_FROM_S

    def progress(step: str, done: int, of: int) -> None:
        nonlocal told_step, next_s
        if time.monotonic() > next_s or (told_step and step != told_step):
            told_step, next_s = step, time.monotonic() + PROGRESS_S
            _log.info(event, step=step, done=done, of=of, **fields)

    return progress
