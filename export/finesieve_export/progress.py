"""Say which step runs, how far it is and how long it took."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Tell(Protocol):
    """What long work calls: a step, and the share of it that is done (0..1)."""

    def __call__(self, step: str, done: float = 0.0) -> None: ...


class Steps:
    """A line in the terminal for each step, the last one moving."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=console,
        )
        self._step, self._task = "", TaskID(0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._finish()
        self._progress.stop()

    def tell(self, step: str, done: float = 0.0) -> None:
        if step != self._step:
            self._finish()
            self._step, self._task = step, self._progress.add_task(step, total=None)
        if done:
            self._progress.update(self._task, total=1.0, completed=done)

    def _finish(self) -> None:
        if self._step:
            self._progress.update(self._task, total=1.0, completed=1.0)
