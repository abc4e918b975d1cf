"""Choose the collections that may answer a question, by a language model."""

from collections.abc import Mapping

from finesieve_client.rag.completion import Message
from finesieve_client.rag.json_answer import (
    THINKING_TOKENS,
    UnreadableAnswer,
    list_of,
    list_schema,
    object_schema,
    read_object,
    shortened,
)
from finesieve_client.rag.llm import Llm
from finesieve_client.rag.prompt import fenced, question_line

ANSWER_TOKENS = THINKING_TOKENS + 500

ROUTE = """\
Choose the collections that may hold the answer to the question, the likeliest first; none, if the \
question is about something else. Each collection is one line of JSON.
Answer as JSON: {"collections": ["name", ...]}."""


def route(question: str, collections: Mapping[str, str], llm: Llm) -> list[str]:
    """Return the names of the collections that may hold the answer, the likeliest first.

    `collections`: what each holds, by its name. The list is empty where the model says that none
    does. One call. Raises LlmError where no answer came, and UnreadableAnswer where it names others
    alone.
    """
    if not collections:
        raise ValueError("there are no collections to choose from")
    lines = [
        fenced({"collection": name, "holds": description})
        for name, description in collections.items()
    ]
    messages = [
        Message("system", ROUTE),
        Message("user", "\n".join([*lines, "", question_line(question)])),
    ]
    schema = object_schema(collections=list_schema({"type": "string", "enum": [*collections]}))
    completion = llm.complete(messages, max_tokens=ANSWER_TOKENS, json_schema=schema)
    named = list_of(read_object(completion), "collections")
    names = dict.fromkeys(name for name in named if isinstance(name, str))
    known = [name for name in names if name in collections]
    if named and not known:
        chosen = shortened(str(named[0]))
        raise UnreadableAnswer(f"the model chose {chosen}; there are: {', '.join(collections)}")
    return known
