"""`finesieve ask`: a question's answer, as it is written, and what it rests on."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from finesieve_client.cli import language_model as lm
from finesieve_client.cli import query as ask_options
from finesieve_client.cli.search import heading, probability_text
from finesieve_client.cli.session import Session, with_session
from finesieve_client.cli.terminal import err, lines, milliseconds, out, say, write_json
from finesieve_client.rag.rag import TOKEN_BUDGET, Rag
from finesieve_client.rag.turn import MIN_PROBABILITY, Answer

_MARKER = r"\[\d+(?:, \d+)*\]"


@with_session
def ask(
    session: Session,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What is to be answered.")],
    collection: ask_options.CollectionName = "",
    llm: lm.Model = "",
    base_url: lm.BaseUrl = "",
    api_key_file: lm.ApiKeyFile = None,
    token_budget: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Tokens of all passages together that the model reads.",
            rich_help_panel=lm.PANEL,
        ),
    ] = TOKEN_BUDGET,
    max_answer_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Tokens that the model may write.",
            rich_help_panel=lm.PANEL,
        ),
    ] = None,
    min_probability: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="P",
            help="Where no passage is relevant with this probability, there is no answer.",
        ),
    ] = MIN_PROBABILITY,
    top_n: Annotated[
        int, typer.Option("--top-n", "-n", min=1, metavar="N", help="Passages that may be given.")
    ] = 10,
    retrieve_k: ask_options.RetrieveK = 100,
    mode: ask_options.ModeName = "dense",
    where: ask_options.Where = None,
    window: ask_options.Window = 0,
    merge_share: ask_options.MergeShare = 0.0,
    diversity: ask_options.Diversity = None,
    model: ask_options.RerankModel = "",
    instruction: ask_options.Instruction = "",
) -> None:
    """Answer a question from a collection, with the passages that the answer cites below it.

    A language model writes the answer where one is named: check what matters by the passages.
    Without one the passages' own best sentences are the answer.
    """
    if base_url and not llm:
        raise ValueError("--llm MODEL is needed with --base-url")
    second_stage = ask_options.second_stage(model, None, instruction)
    second_stage["min_probability"] = min_probability
    answering = lm.language_model(session, llm, base_url, api_key_file) if llm else None
    with session.client() as client:
        name = ask_options.only_collection(client, collection)
        rag = Rag(
            client,
            name,
            answering,
            token_budget=token_budget,
            max_answer_tokens=max_answer_tokens,
            top_n=top_n,
            retrieve_k=retrieve_k,
            mode=mode,
            filter=ask_options.condition_of(where),
            window=window,
            merge_share=merge_share,
            diversity=diversity,
            **second_stage,
        )
        if session.as_json:
            write_json({"collection": name, "question": question, **values(rag.ask(question))})
            return
        answer = written(rag.stream(question))
    show_sources(answer)
    say(summary(answer, name, llm))


def written(events: Iterable[str | Answer]) -> Answer:
    """Write an answer's text as it comes, and return the whole of it."""
    begun = False
    try:
        with err().status("searching and reading …") as waiting:
            for event in events:
                if isinstance(event, Answer):
                    return event
                waiting.stop()
                begun = True
                text = Text(lines(event))
                text.highlight_regex(_MARKER, "cyan")
                out().print(text, end="", soft_wrap=True)
    finally:
        if begun:
            out().print()
    raise AssertionError  # an answer is the last event


def show_sources(answer: Answer) -> None:
    """Write the passages that an answer cites, with the parts that support it."""
    for source in answer.sources:
        cited = [each for each in answer.citations if each.number == source.number]
        if not cited:
            continue
        head = Text.assemble("\n", (f"[{source.number}] ", "cyan"), heading(source.hit.passage))
        out().print(head, "", probability_text(source.hit, label="probability "))
        for passage_id, span, quote in dict.fromkeys(
            (each.passage_id, each.span, each.quote) for each in cited
        ):
            place = "" if passage_id == source.passage_id else f"{passage_id} "
            start, end = span
            line = Text.assemble((f"{lines(place)}{start}–{end}  ", "dim"), lines(quote))
            out().print(Padding(line, (0, 0, 0, 4), expand=False))


def summary(answer: Answer, collection: str, llm: str) -> str:
    """Return how much was given and cited, what it took and what it may lack."""
    took = milliseconds(answer.timings.total_s * 1e6)
    if not answer.sources:
        return f"nothing relevant found in {collection}, {took}"
    cited = len({citation.number for citation in answer.citations})
    counted = f"{cited} of {len(answer.sources)} passages cited"
    usage = answer.usage
    by = f"{llm}, {usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
    how = by if llm else "best sentences, without a language model (--llm MODEL)"
    cut = "; the answer was cut by a limit of tokens or a filter" if answer.cut else ""
    return f"{counted} from {collection}; {how}; {took}{cut}"


def values(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values."""
    return {
        "text": answer.text,
        "refused": answer.refused,
        "cut": answer.cut,
        "citations": [asdict(citation) for citation in answer.citations],
        "sources": [
            {
                "number": source.number,
                "passage_id": source.passage_id,
                "title": source.title,
                "document_id": source.document_id,
                "probability": source.probability,
                "text": source.text,
            }
            for source in answer.sources
        ],
        "usage": asdict(answer.usage),
        "timings": asdict(answer.timings),
    }
