"""What the commands that ask a question share: which collection, which condition, which model."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Annotated, Any

import typer

from finesieve_client.client import Client
from finesieve_client.filters import Condition, Field, field
from finesieve_client.options import Mode, SecondStage

Query = Annotated[str, typer.Argument(metavar="QUERY", help="What is looked for.")]
CollectionName = Annotated[
    str,
    typer.Option(
        "--collection", "-c", metavar="NAME", help="May be left out where there is only one."
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="CONDITION",
        help="Condition on metadata, such as 'lang=en' or 'year>=2020', quoted because the shell "
        "reads > and < itself; all given must hold.",
    ),
]
RetrieveK = Annotated[
    int, typer.Option(min=1, metavar="N", help="Candidates that the first stage hands on.")
]
ModeName = Annotated[
    Mode,
    typer.Option(
        "--mode",
        metavar="MODE",
        help="How candidates are found: dense (near embeddings), lexical (shared words) or hybrid.",
    ),
]
TopN = Annotated[int, typer.Option("--top-n", "-n", min=1, metavar="N", help="Hits shown.")]
Window = Annotated[
    int,
    typer.Option(
        "--window", min=0, metavar="N", help="Passages shown around each hit, from its document."
    ),
]
MergeShare = Annotated[
    float,
    typer.Option(
        "--merge-share",
        min=0,
        max=1,
        metavar="SHARE",
        help="Of a parent's children that must be found for it to replace them; 0: never.",
    ),
]
Diversity = Annotated[
    float | None,
    typer.Option(
        "--diversity",
        min=0,
        max=1,
        metavar="SHARE",
        help="How much being unlike the hits above counts, beside relevance, in choosing one.",
    ),
]
RerankModel = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="Cross-encoder; by default the server's first."),
]
Instruction = Annotated[
    str,
    typer.Option(
        "--instruction",
        metavar="TEXT",
        help="What counts as relevant, for a cross-encoder that takes an instruction.",
    ),
]
Weight = Annotated[
    float | None,
    typer.Option(
        "--first-stage-weight",
        min=0,
        max=1,
        metavar="SHARE",
        help="Of the first stage's score in the order; 0: the cross-encoder alone. "
        "By default what the model's own manifest says.",
    ),
]

_COMPARISONS: Mapping[str, Callable[[Field, Any], Condition]] = {
    "=": Field.__eq__,
    "==": Field.__eq__,
    "!=": Field.__ne__,
    ">": Field.__gt__,
    ">=": Field.__ge__,
    "<": Field.__lt__,
    "<=": Field.__le__,
}
_CONDITION = re.compile(r"\s*([^<>=!\s]+)\s*(<=|>=|!=|==?|<|>)\s*(.*?)\s*", re.DOTALL)


def only_collection(client: Client, name: str) -> str:
    """Return the collection named, or the only one there is; raises ValueError where it is open."""
    if name:
        return name
    names = [collection.name for collection in client.all_collections()]
    match names:
        case [only]:
            return only
        case []:
            raise ValueError(
                "the server has no collection yet; "
                "`finesieve ingest FILE --collection NAME` makes one"
            )
    raise ValueError(f"--collection NAME is needed; there are: {', '.join(names)}")


def condition_of(conditions: Sequence[str] | None) -> Condition | None:
    """Return all the conditions together; raises ValueError for one that is none."""
    return reduce(and_, map(_condition, conditions)) if conditions else None


def second_stage(
    model: str, first_stage_weight: float | None, instruction: str = ""
) -> SecondStage:
    """Return the second stage's options; what is not given is the model's own."""
    options = SecondStage(model=model, instruction=instruction)
    if first_stage_weight is not None:
        options["first_stage_weight"] = first_stage_weight
    return options


def _condition(text: str) -> Condition:
    parts = _CONDITION.fullmatch(text)
    if parts is None:
        raise ValueError(f"--where {text!r} is no condition; write one such as 'year>=2020'")
    path, operator, literal = parts.groups()
    return _COMPARISONS[operator](field(path), _scalar(literal))


def _scalar(literal: str) -> Any:
    """Return a JSON number, string, true, false or null; other words are a string as they stand."""
    if literal.startswith(("[", "{")):
        raise ValueError(
            f"--where compares with one value, and {literal!r} is a list or an object; "
            "a text that begins so is written in double quotes"
        )
    try:
        return json.loads(literal)
    except json.JSONDecodeError:
        return literal
