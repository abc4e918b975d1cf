"""`finesieve repurpose`: a newsletter, summary or thread from a document, with its passages."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from finesieve.v1.passages_pb2 import Passage
from finesieve_client.chunking import ChunkOptions, UnreadableFile, chunk_file
from finesieve_client.cli import language_model as lm
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import one_line, say, write_json
from finesieve_client.filters import document as cut_from
from finesieve_client.rag.repurpose import (
    POST_CHARACTERS,
    TOKEN_BUDGET,
    Form,
    Repurposed,
)
from finesieve_client.rag.repurpose import repurpose as write
from finesieve_client.rag.sources import Statement

_LIVE = re.compile(r"[\[<]")  # begins a link, an image or HTML


@with_session
def repurpose(
    session: Session,
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT", help="A file; with --collection, the id of a document stored there."
        ),
    ],
    form: Annotated[
        Form, typer.Option("--as", metavar="FORM", help="newsletter, summary or thread.")
    ] = "summary",
    language: Annotated[
        str, typer.Option("--language", "-l", metavar="LANGUAGE", help="Such as vi or Vietnamese.")
    ] = "en",
    collection: Annotated[
        str, typer.Option("--collection", "-c", metavar="NAME", help="Where the document is.")
    ] = "",
    token_budget: Annotated[
        int, typer.Option(min=1, metavar="N", help="Longest document, in tokens by estimate.")
    ] = TOKEN_BUDGET,
    llm: lm.Model = "",
    base_url: lm.BaseUrl = "",
    api_key_file: lm.ApiKeyFile = None,
    llm_prices: lm.LlmPrices = "",
) -> None:
    """Have a language model write a document anew, as Markdown on standard output.

    Every statement names the passages of the document that support it; those that name none are
    left out. The file may be text, Markdown, HTML or PDF (pip install 'finesieve[ingest]').
    """
    model = lm.language_model(session, llm, base_url, api_key_file, llm_prices)
    passages = stored(session, collection, document) if collection else read(Path(document))
    written = write(passages, form, language, model, token_budget=token_budget)
    if session.as_json:
        write_json(as_values(written))
    else:
        typer.echo(markdown(written))
    if written.num_left_out:
        say(f"{written.num_left_out} statements left out that name no passage of the document")
    for number, length in long_posts(written):
        say(f"post {number} has {length} characters; {POST_CHARACTERS} were asked for")
    say(f"{model.model}: {lm.spent(written.usage)}")


def long_posts(written: Repurposed) -> list[tuple[int, int]]:
    """Return the numbers of a thread's posts that are too long, and their characters."""
    lengths = enumerate((len(section.text) for section in written.sections), start=1)
    is_thread = written.form == "thread"
    return [
        (number, length) for number, length in lengths if is_thread and length > POST_CHARACTERS
    ]


def stored(session: Session, collection: str, document_id: str) -> list[Passage]:
    """Return a stored document's passages, in order; raises ValueError where there are none."""
    with session.client() as client:
        found = client.all_passages(collection, filter=cut_from(document_id))
        leaves = [each for each in found if not each.context_only]
    if not leaves:
        raise ValueError(f"no passage of {collection} has the document_id {document_id!r}")
    return sorted(leaves, key=lambda each: (each.ordinal, each.id))


def read(path: Path) -> list[Passage]:
    """Return a file's passages; raises ValueError where it has no text, and OSError."""
    try:
        return chunk_file(path, options=ChunkOptions(overlap=0))
    except UnreadableFile as error:
        raise ValueError(f"{path} {error}") from error


def markdown(written: Repurposed) -> str:
    """Return what was written as Markdown, with the passages that it names below."""
    lines = [f"# {_plain(written.title)}"] if written.title else []
    for number, section in enumerate(written.sections, start=1):
        if section.heading:
            lines.append(f"## {_plain(section.heading)}")
        text = " ".join(map(_with_numbers, section.statements))
        lines.append(f"{number}. {text}" if written.form == "thread" else text)
    sources = [
        f"- [{number}] {_plain(each.title or each.id)}"
        for number, each in enumerate(written.passages, start=1)
        if number in written.cited
    ]
    return "\n\n".join([*lines, "---", "\n".join(sources)])


def as_values(written: Repurposed) -> dict[str, object]:
    """Return what was written as plain values, with the ids of the passages."""
    return {
        "form": written.form,
        "language": written.language,
        "title": written.title,
        "sections": [asdict(section) for section in written.sections],
        "passages": {
            number: {"id": each.id, "title": each.title, "text": each.text}
            for number, each in enumerate(written.passages, start=1)
            if number in written.cited
        },
        "left_out": written.num_left_out,
        "usage": asdict(written.usage),
    }


def _with_numbers(statement: Statement) -> str:
    numbers = "".join(f"[{number}]" for number in statement.passages)
    return f"{_plain(statement.text)} {numbers}"


def _plain(text: str) -> str:
    """Return a model's text as Markdown that holds no link, no image and no HTML."""
    return _LIVE.sub(r"\\\g<0>", one_line(text))
