"""Answer questions from a collection, with a language model or without one.

    from finesieve_client import Client
    from finesieve_client.rag import Llm, Rag

    with Client("localhost:50051") as client:
        answer = Rag(client, "docs", Llm("gpt-5-mini")).ask("How is a folder copied?")
        print(answer.text)
        for citation in answer.citations:
            print(citation.number, citation.title, citation.quote)

`AsyncRag` and `AsyncLlm` are the same for asyncio. `decompose`, `expand`, `hyde` and `step_back`
make `retrieval_queries` of a question, `to_filter` a filter; `route` chooses collections. Modules
of their own: `tournament` (a model reranks), `triad` (what an answer is worth), `repurpose`.
"""

from finesieve_client.rag.citations import Citation, cited
from finesieve_client.rag.llm import AsyncLlm, Completion, Llm, LlmError, Message, Prices, Usage
from finesieve_client.rag.queries import decompose, expand, hyde, step_back
from finesieve_client.rag.question_filter import FilterField, to_filter
from finesieve_client.rag.rag import AsyncRag, Rag
from finesieve_client.rag.routing import route
from finesieve_client.rag.sources import Source
from finesieve_client.rag.turn import Answer, Timings

__all__ = [
    "Answer",
    "AsyncLlm",
    "AsyncRag",
    "Citation",
    "Completion",
    "FilterField",
    "Llm",
    "LlmError",
    "Message",
    "Prices",
    "Rag",
    "Source",
    "Timings",
    "Usage",
    "cited",
    "decompose",
    "expand",
    "hyde",
    "route",
    "step_back",
    "to_filter",
]
