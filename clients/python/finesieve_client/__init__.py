"""Speak to a finesieve server from Python.

    from finesieve_client import Client

    with Client("localhost:50051") as client:
        for found in client.search("docs", "copy a folder with everything in it").hits:
            print(found.hit.rank, found.hit.passage.title)

`AsyncClient` is the same for asyncio. `TwoStage` chains the stages over two servers. `prompt` and
`cited` are what a language model is asked, and what its answer cites; `finesieve_client.rag` does
all of it.
"""

from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.rerank_pb2 import Document
from finesieve_client.async_client import AsyncClient
from finesieve_client.calls.ranking import rerank_request, retrieval_query
from finesieve_client.client import Client
from finesieve_client.comparison import Comparison, RankChange, compare
from finesieve_client.connection import Tls
from finesieve_client.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FinesieveError,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
    error_of_failure,
)
from finesieve_client.filters import Condition, document, field
from finesieve_client.passages import metadata_of, passage
from finesieve_client.rag.citations import cited
from finesieve_client.rag.prompt import prompt
from finesieve_client.two_stage import AsyncTwoStage, TwoStage

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "AsyncTwoStage",
    "Client",
    "Comparison",
    "Condition",
    "DataLoss",
    "DeadlineExceeded",
    "Document",
    "FailedPrecondition",
    "FinesieveError",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "Passage",
    "PermissionDenied",
    "RankChange",
    "ResourceExhausted",
    "Tls",
    "TwoStage",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
    "cited",
    "compare",
    "document",
    "error_of_failure",
    "field",
    "metadata_of",
    "passage",
    "prompt",
    "rerank_request",
    "retrieval_query",
]
