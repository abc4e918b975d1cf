"""`finesieve rerank`: order texts by their relevance to a query."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from finesieve.v1.rerank_pb2 import Document, RerankResult
from finesieve_client.cli import query as ask
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import (
    milliseconds,
    one_line,
    out,
    plain,
    plain_table,
    say,
    write_json,
)
from finesieve_client.rows import parse_fields, parse_text, read_lines


@with_session
def rerank(
    session: Session,
    query: ask.Query,
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="The texts to order.")
    ] = None,
    file: Annotated[
        str,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Read texts from here, one a line, or JSON lines with id, title and text; "
            "- is standard input.",
        ),
    ] = "",
    top_n: Annotated[
        int, typer.Option("--top-n", "-n", min=0, metavar="N", help="Texts shown; 0: all.")
    ] = 0,
    model: ask.RerankModel = "",
    instruction: ask.Instruction = "",
) -> None:
    """Order texts by their relevance to a query."""
    given = [Document(text=text) for text in documents or ()]
    if file:
        given += read_documents(file)
    if not given:
        raise ValueError("there is nothing to order; give texts, or --file FILE (- for stdin)")
    with session.client() as client:
        answer = client.rerank(
            query,
            given,
            top_n=top_n,
            return_documents=True,
            **ask.second_stage(model, None, instruction),
        )
    if session.as_json:
        write_json({"query": query, **plain(answer)})
        return
    table = plain_table(">", ">probability", ">logit", "text")
    for rank, result in enumerate(answer.results, start=1):
        scored = result.HasField("score")
        table.add_row(
            Text(f"{rank}", "dim"),
            Text(f"{result.score.probability:.3f}" if scored else "–", "cyan"),
            Text(f"{result.score.logit:.2f}" if scored else "–", "dim"),
            described(result),
        )
    out().print(table)
    say(
        f"{len(given)} texts by {answer.model}, {answer.usage.tokens:,} tokens, "
        f"{milliseconds(answer.timings.total_us)}"
    )


def read_documents(source: str) -> Iterator[Document]:
    """Yield one document per line that is not blank; raises ValueError naming a bad line."""
    for number, line in enumerate(read_lines(source), start=1):
        try:
            text = parse_text(line).strip()
            if text.startswith("{"):
                fields, _ = parse_fields(line, ("text",))
                yield Document(id=fields.get("id"), title=fields.get("title"), text=fields["text"])
            elif text:
                yield Document(text=text)
        except ValueError as error:
            raise ValueError(f"line {number} of {source}: {error}") from error


def described(result: RerankResult) -> Text:
    """Return a result's text in one line, and why it has no score where it has none."""
    document, text = result.document, Text()
    if result.HasField("failure"):  # first, because the end of a line may be cut off
        text.append(f"not scored: {one_line(result.failure.message)}  ", "red")
    if heading := one_line(document.title or document.id):
        text.append(heading, "bold").append("  ")
    text.append(one_line(document.text))
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text
