"""`finesieve evaluate --rewrite`: which ways to rewrite a question are measured, and their cost."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from finesieve_client.cli.language_model import usage_table
from finesieve_client.cli.terminal import out, say
from finesieve_client.rag.json_answer import UnreadableAnswer
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.queries import REWRITES


class Rewriter:
    """One way to rewrite questions, by a model of its own, so that its usage is that way's.

    Each question is rewritten once, so that all modes search for the same and it is paid once. One
    whose answer makes no sense is retrieved with as it is; `num_unread` counts them.
    """

    def __init__(self, name: str, llm: Llm) -> None:
        self.name = name
        self.llm = llm
        self.num_unread = 0
        self._rewritten: dict[str, Sequence[str]] = {}

    async def __call__(self, question: str) -> Sequence[str]:
        """Return the queries for a question; raises LlmError where no answer came."""
        if question not in self._rewritten:
            self._rewritten[question] = await self._ask(question)
        return self._rewritten[question]

    async def _ask(self, question: str) -> Sequence[str]:
        try:
            return await asyncio.to_thread(REWRITES[self.name], question, self.llm)
        except UnreadableAnswer:
            self.num_unread += 1
            return [question]


def rewrites_of(names: str) -> tuple[str, ...]:
    """Return the ways that are named, with commas between; raises ValueError for one unknown."""
    if names == "all":
        return tuple(REWRITES)
    named = tuple(dict.fromkeys(names.split(","))) if names else ()
    if unknown := [name for name in named if name not in REWRITES]:
        raise ValueError(f"--rewrite is {unknown[0]!r}; allowed: {', '.join(REWRITES)}, all")
    return named


def spent_as_values(rewriters: Sequence[Rewriter]) -> dict[str, object]:
    """Return what each rewriter took, over all modes, as plain values by its name."""
    return {
        each.name: {"llm": each.llm.model, **asdict(each.llm.usage), "unread": each.num_unread}
        for each in rewriters
    }


def show_spent(rewriters: Sequence[Rewriter]) -> None:
    """Write what each rewriter took, over all modes."""
    if not rewriters:
        return
    out().print()
    out().print(usage_table({each.name: each.llm.usage for each in rewriters}))
    for each in rewriters:
        if each.num_unread:
            say(f"{each.name}: {each.num_unread:,} answers made no sense; their queries stayed")
