"""What the commands that ask a language model share: which one, where, and what it cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from finesieve_client.cli.session import Session
from finesieve_client.cli.terminal import plain_table
from finesieve_client.rag.completion import Prices, Usage
from finesieve_client.rag.llm import TIMEOUT_S, Llm

PANEL = "Language model"

Model = Annotated[
    str,
    typer.Option(
        "--llm",
        envvar="OPENAI_MODEL",
        metavar="MODEL",
        help="The model to ask.",
        rich_help_panel=PANEL,
    ),
]
BaseUrl = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="An endpoint of chat completions, such as http://localhost:11434/v1; by default "
        "OPENAI_BASE_URL. Its key is read from OPENAI_API_KEY.",
        rich_help_panel=PANEL,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with the key, in OPENAI_API_KEY's place.",
        rich_help_panel=PANEL,
    ),
]
LlmPrices = Annotated[
    str,
    typer.Option(
        metavar="PROMPT,COMPLETION",
        help="What a million tokens of each cost, such as 0.15,0.60: says what was spent.",
        rich_help_panel=PANEL,
    ),
]


def language_model(
    session: Session, model: str, base_url: str, api_key_file: Path | None, prices: str = ""
) -> Llm:
    """Return the model that the options name; raises LlmError where none is, and ValueError."""
    return Llm(
        model,
        base_url=base_url or None,
        api_key=api_key_file.read_text(encoding="utf-8").strip() if api_key_file else None,
        timeout_s=max(TIMEOUT_S, session.timeout_s),
        prices=prices_of(prices),
    )


def prices_of(text: str) -> Prices | None:
    """Return prices written as "0.15,0.60"; raises ValueError."""
    if not text:
        return None
    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"--llm-prices is {text!r}; write two numbers, such as 0.15,0.60"
        ) from error
    if not (0 <= prompt < float("inf") and 0 <= completion < float("inf")):
        raise ValueError(f"--llm-prices is {text!r}; a price is a finite number from 0")
    return Prices(prompt, completion)


def usage_table(usages: Mapping[str, Usage]) -> Table:
    """Return what calls took, a row for each name; costs where there are some."""
    with_cost = any(usage.cost for usage in usages.values())
    columns = ("", ">calls", ">prompt tokens", ">completion tokens")
    table = plain_table(*columns, *([">cost"] if with_cost else []))
    for name, usage in usages.items():
        counts = (usage.calls, usage.prompt_tokens, usage.completion_tokens)
        cost = [f"{usage.cost:,.6f}"] if with_cost else []
        table.add_row(name, *(f"{count:,}" for count in counts), *cost)
    return table


def spent(usage: Usage) -> str:
    """Return what calls took in a few words."""
    cost = f", cost {usage.cost:,.6f}" if usage.cost else ""
    tokens = usage.prompt_tokens + usage.completion_tokens
    return f"{usage.calls:,} calls, {tokens:,} tokens{cost}"
