"""One bulk load over a stream: two batches at a time, so that one is embedded while one is written.

A batch waits for the one before it where they share an id, or a document that either replaces: the
later one has to win.
"""

import asyncio
from dataclasses import dataclass

from finesieve.v1 import results_pb2, retrieval_pb2
from finesieve_server.errors import InvalidArgument
from finesieve_server.rpc import requests
from finesieve_server.rpc.passages import read_passages
from finesieve_server.rpc.turns import Turns
from finesieve_server.rpc.visit import Visit
from finesieve_server.search.call import Call
from finesieve_server.search.ingester import Ingester
from finesieve_server.search.limits import Limits


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """What a batch under way touches."""

    ids: set[str]
    documents: set[str]
    replaces: bool
    stored: asyncio.Event

    @classmethod
    def of(cls, request: retrieval_pb2.StreamUpsertPassagesRequest) -> "_Batch":
        return cls(
            {passage.id for passage in request.passages},
            {passage.document_id for passage in request.passages},
            request.replace_documents,
            asyncio.Event(),
        )

    def must_follow(self, earlier: "_Batch") -> bool:
        if not self.ids.isdisjoint(earlier.ids):
            return True
        replacing = self.replaces or earlier.replaces
        return replacing and not self.documents.isdisjoint(earlier.documents)


class Loading:
    """Remembers a stream's collection, and which of its batches are under way."""

    MAX_IN_FLIGHT = 2

    def __init__(self, ingester: Ingester, limits: Limits, visit: Visit) -> None:
        self._ingester = ingester
        self._limits = limits
        self._visit = visit
        self._collection = ""
        self._batches = 0
        self._under_way: list[_Batch] = []

    async def load(
        self, request: retrieval_pb2.StreamUpsertPassagesRequest
    ) -> retrieval_pb2.StreamUpsertPassagesResponse:
        """Return the batch's answer: what was stored, durably, or why nothing was."""
        batch = self._batches
        self._batches += 1
        outcome = await self._visit.answer_one(lambda call: self._store(batch, request, call))
        if isinstance(outcome, results_pb2.Failure):
            return retrieval_pb2.StreamUpsertPassagesResponse(batch=batch, failure=outcome)
        return outcome

    async def _store(
        self, batch: int, request: retrieval_pb2.StreamUpsertPassagesRequest, call: Call
    ) -> retrieval_pb2.StreamUpsertPassagesResponse:
        self._take_collection(request.collection)
        own = _Batch.of(request)
        before = [other.stored for other in self._under_way if own.must_follow(other)]
        self._under_way.append(own)
        try:
            passages = await Turns().collect(read_passages(request.passages, self._limits))
            for stored in before:
                await stored.wait()
            upserted = await self._ingester.upsert(
                self._collection, passages, call, replace_documents=own.replaces
            )
        finally:
            own.stored.set()
            self._under_way.remove(own)
        return retrieval_pb2.StreamUpsertPassagesResponse(
            batch=batch,
            inserted=upserted.inserted,
            updated=upserted.updated,
            removed=upserted.removed,
        )

    def _take_collection(self, name: str) -> None:
        if self._collection and name not in ("", self._collection):
            raise InvalidArgument(
                "collection", f"is another than {self._collection!r}, which this stream loads"
            )
        self._collection = self._collection or requests.collection_name(name)
