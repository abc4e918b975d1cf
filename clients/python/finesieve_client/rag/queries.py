"""Turn a question into queries to retrieve with, by a language model.

    queries = expand("how do I copy a folder?", llm)
    client.search("docs", "how do I copy a folder?", retrieval_queries=queries)

Every function returns the question itself first, so that a poor answer of the model costs little,
and at most 31 queries after it: a Search takes 32. Each is one call; each raises LlmError where no
answer came, and UnreadableAnswer, which is an LlmError too, where it makes no sense. In asyncio:
`await asyncio.to_thread(expand, question, llm)`.
"""

from collections.abc import Callable, Mapping

from finesieve_client.rag.completion import Message
from finesieve_client.rag.json_answer import (
    THINKING_TOKENS,
    in_one_line,
    list_of,
    list_schema,
    object_schema,
    read_object,
)
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.prompt import question_line

MOST_QUERIES = 32  # of one Search, the question among them
QUERY_CHARACTERS = 2_000  # the bi-encoder's window is far shorter; the server takes 8,192
ANSWER_TOKENS = THINKING_TOKENS + 2_000

Rewrite = Callable[[str, Llm], list[str]]

DECOMPOSE = """\
Split the question into the simpler questions that must be answered first, at most {most}, each \
understandable alone. A question that asks for one thing only is not split: give an empty list. \
Write in the question's language."""

EXPAND = """\
Write {most} search queries for the question that use other words for the same thing: synonyms, \
the terms of the field, what an answer would be called. Write in the question's language."""

HYDE = """\
Write {most} short passages, some four sentences each, that could stand in a document and answer \
the question. Write as the document would, without mentioning the question; details may be \
invented, because the passages serve only to find real ones. Write in the question's language."""

STEP_BACK = """\
Write one more general question, whose answer gives the background or the principle that the \
question needs. Write in the question's language."""

ANSWER_FORM = 'Answer as JSON: {"queries": ["...", ...]}.'

QUERIES = object_schema(queries=list_schema({"type": "string"}))


def decompose(question: str, llm: Llm, *, most: int = 5) -> list[str]:
    """Return the question and, where it asks for several things, a query for each."""
    return _rewritten(question, llm, DECOMPOSE, most)


def expand(question: str, llm: Llm, *, most: int = 4) -> list[str]:
    """Return the question and other ways to put it (multi-query, RAG-fusion)."""
    return _rewritten(question, llm, EXPAND, most)


def hyde(question: str, llm: Llm, *, most: int = 1) -> list[str]:
    """Return the question and hypothetical passages that answer it.

    For a bi-encoder that puts other words before passages than before queries (e5), embed the
    passages as such and retrieve by the embeddings: `client.embed(found[1:], role="passage")`.
    Source: Gao et al. 2022, arXiv:2212.10496.
    """
    return _rewritten(question, llm, HYDE, most)


def step_back(question: str, llm: Llm) -> list[str]:
    """Return the question and the more general one behind it.

    Source: Zheng et al. 2023, arXiv:2310.06117.
    """
    return _rewritten(question, llm, STEP_BACK, 1)


REWRITES: Mapping[str, Rewrite] = {
    "decompose": decompose,
    "expand": expand,
    "hyde": hyde,
    "step-back": step_back,
}


def _rewritten(question: str, llm: Llm, instructions: str, most: int) -> list[str]:
    if not 1 <= most < MOST_QUERIES:
        raise ValueError(f"most is {most}; allowed 1..{MOST_QUERIES - 1}")
    messages = [
        Message("system", f"{instructions.format(most=most)}\n{ANSWER_FORM}"),
        Message("user", question_line(question)),
    ]
    completion = llm.complete(messages, max_tokens=ANSWER_TOKENS, json_schema=QUERIES)
    queries = {question.casefold(): question}
    for each in list_of(read_object(completion), "queries"):
        if isinstance(each, str) and (query := in_one_line(each[:QUERY_CHARACTERS])):
            queries.setdefault(query.casefold(), query)
    return list(queries.values())[: 1 + most]
