"""Say which step is being taken, and in the end where the time went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(slots=True)
class Step:
    """One step: what is done, how long it took, and what came of it."""

    title: str
    took_s: float = 0.0
    result: str = ""


class Steps:
    """The steps of one run, told on the terminal as they are taken."""

    def __init__(self, console: Console, count: int) -> None:
        self._console = console
        self._count = count
        self._taken: list[Step] = []

    @contextmanager
    def take(self, title: str) -> Iterator[Step]:
        """Announce a step, time it, and say what it set as its result."""
        step = Step(title)
        self._taken.append(step)
        self._console.print(f"\n[bold]{len(self._taken)}/{self._count} {title}[/]")
        started = time.perf_counter()
        yield step
        step.took_s = time.perf_counter() - started
        self._console.print(f"{step.result} [dim]({step.took_s:.1f} s)[/]", soft_wrap=True)

    def table(self) -> Table:
        """Return where the time went."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column()
        table.add_column(justify="right")
        for step in self._taken:
            table.add_row(step.title, f"{step.took_s:.1f} s")
        return table
