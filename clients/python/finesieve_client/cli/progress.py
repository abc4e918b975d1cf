"""Progress bars on standard error: how much is done, how fast, how long it still takes."""

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from finesieve_client.cli.terminal import err


class CountColumn(ProgressColumn):
    """How many are done, of how many where that is known."""

    def render(self, task: Task) -> Text:
        """Return the counts."""
        total = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total}")


class RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return the rate over the last half minute."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.3g}/s" if rate < 100 else f"{rate:,.0f}/s")


def progress_bar() -> Progress:
    """Return a bar to be used as a context manager; it leaves its last state behind."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        CountColumn(),
        RateColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=err(),
    )
