"""`finesieve triad`: answers measured, with the passages that they were given."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from finesieve.v1.passages_pb2 import Passage
from finesieve_client.cli import language_model as lm
from finesieve_client.cli import query as ask
from finesieve_client.cli.session import FAILED, Session, with_session
from finesieve_client.cli.terminal import (
    one_line,
    out,
    plain_table,
    progress_bar,
    say,
    write_json,
)
from finesieve_client.client import Client
from finesieve_client.passages import passage
from finesieve_client.rag.llm import Llm, LlmError
from finesieve_client.rag.rag import Rag
from finesieve_client.rag.triad import Triad, means
from finesieve_client.rag.triad import triad as measure
from finesieve_client.rag.triad_page import page, value
from finesieve_client.rows import parse_object, parse_text, read_lines


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and where it was answered already, the answer and what it was given."""

    question: str
    answer: str | None = None
    passages: tuple[Passage, ...] = ()


@with_session
def triad(
    session: Session,
    questions: Annotated[
        list[str] | None, typer.Argument(metavar="[QUESTION]...", help="What is asked.")
    ] = None,
    file: Annotated[
        str,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Read questions from here, one a line; or JSON lines with question, answer and "
            "passages (texts), which are measured as they are; - is standard input.",
        ),
    ] = "",
    collection: ask.CollectionName = "",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a page that shows it all.")
    ] = None,
    llm: lm.Model = "",
    base_url: lm.BaseUrl = "",
    api_key_file: lm.ApiKeyFile = None,
    llm_prices: lm.LlmPrices = "",
) -> None:
    """Answer questions from a collection, and measure the RAG triad of each answer.

    Context relevance is the cross-encoder's. A language model writes and judges the answers;
    without one they are made of the passages' own sentences, and judged by words and the
    cross-encoder. A question whose answer or judgment fails is named, and the exit code is 1.
    """
    asked = all_asked(questions or (), file)
    named = (llm, base_url, api_key_file, llm_prices)
    model = lm.language_model(session, *named) if llm else None
    with session.client() as client, progress_bar() as progress:
        needs_collection = any(each.answer is None for each in asked)
        name = ask.only_collection(client, collection) if needs_collection else ""
        unread = []
        triads = []
        for question in progress.track(asked, description="questions"):
            try:
                triads.append(measured(client, name, question, model))
            except LlmError as error:
                unread.append({"question": question.question, "reason": str(error)})
    if html is not None:
        html.write_text(page(triads), encoding="utf-8")
    if session.as_json:
        answers = [as_values(each) for each in triads]
        write_json({"answers": answers, "means": asdict(means(triads)), "unread": unread})
    else:
        out().print(table(triads))
        if len(triads) == 1:
            show(triads[0])
    for each in unread:
        say(f"not judged: {each['question']}: {each['reason']}")
    if model is not None:
        say(f"{model.model}: {lm.spent(model.usage)}")
    if unread:
        raise typer.Exit(FAILED)


def measured(client: Client, collection: str, asked: Asked, llm: Llm | None) -> Triad:
    """Return one answer's triad; the answer is made where it is not given."""
    if asked.answer is not None:
        return measure(client, asked.question, asked.answer, asked.passages, llm)
    answer = Rag(client, collection, llm).ask(asked.question)
    given = [
        passage(source.passage_id, source.text, title=source.title) for source in answer.sources
    ]
    return measure(client, asked.question, answer.text, given, llm, refused=answer.refused)


def all_asked(questions: Sequence[str], file: str) -> list[Asked]:
    """Return what is asked, with what a file asks; raises ValueError where that is nothing."""
    asked = [Asked(question) for question in questions]
    if file:
        asked += read_asked(file)
    if not asked:
        raise ValueError("there is nothing to ask; give questions, or --file FILE (- for stdin)")
    return asked


def read_asked(source: str) -> Iterator[Asked]:
    """Yield one question per line that is not blank; raises ValueError naming a bad line."""
    for number, line in enumerate(read_lines(source), start=1):
        try:
            text = parse_text(line).strip()
            if text.startswith("{"):
                yield _answered(parse_object(line))
            elif text:
                yield Asked(text)
        except ValueError as error:
            raise ValueError(f"line {number} of {source}: {error}") from error


def _answered(row: dict[str, Any]) -> Asked:
    match row:
        case {"question": str(question), "answer": str(answer), "passages": list(texts)}:
            if all(isinstance(text, str) for text in texts):
                given = (passage(f"{at}", text) for at, text in enumerate(texts, start=1))
                return Asked(question, answer, tuple(given))
        case {"question": str(question)} if "answer" not in row:
            return Asked(question)
    raise ValueError("needs question and answer, which are strings, and passages, a list of them")


def table(triads: Sequence[Triad]) -> Table:
    """Return a row for each answer, and the means."""
    found = plain_table("question", ">context relevance", ">groundedness", ">answer relevance")
    for each in triads:
        values = (each.context_relevance, each.groundedness, each.answer_relevance)
        found.add_row(Text(one_line(each.question)), *map(value, values))
    if len(triads) > 1:
        mean = means(triads)
        values = (mean.context_relevance, mean.groundedness, mean.answer_relevance)
        found.add_row(Text("mean", "bold"), *(Text(value(each), "bold") for each in values))
    return found


def show(triad: Triad) -> None:
    """Write an answer's statements, each with the passages that support it."""
    out().print()
    if triad.refused:
        out().print(Text(one_line(triad.answer), "dim"))
    for each in triad.statements:
        numbers = ", ".join(map(str, each.passages))
        mark = (f"[{numbers}]", "cyan") if numbers else ("no passage supports this", "red")
        out().print(Text.assemble(one_line(each.text), "  ", mark))


def as_values(triad: Triad) -> dict[str, object]:
    """Return a triad as plain values."""
    return {
        "question": triad.question,
        "answer": triad.answer,
        "refused": triad.refused,
        "context_relevance": triad.context_relevance,
        "groundedness": triad.groundedness,
        "answer_relevance": triad.answer_relevance,
        "statements": [asdict(each) for each in triad.statements],
        "passages": [
            {"id": each.id, "title": each.title, "text": each.text, "probability": probability}
            for each, probability in zip(triad.passages, triad.relevance, strict=True)
        ],
        "judge": triad.judge,
        "usage": asdict(triad.usage),
    }
