"""One bulk load over a stream: two batches at a time, so that one is embedded while one is written.

A batch waits for the one before it where they share an id: the later passage has to win.
"""

import asyncio

from finesieve.v1 import results_pb2, retrieval_pb2
from finesieve_server.errors import InvalidArgument
from finesieve_server.rpc import requests
from finesieve_server.rpc.passages import read_passages
from finesieve_server.rpc.turns import Turns
from finesieve_server.rpc.visit import Visit
from finesieve_server.search.call import Call
from finesieve_server.search.ingester import Ingester
from finesieve_server.search.limits import Limits


class Loading:
    """Remembers a stream's collection, and which of its batches are under way."""

    MAX_IN_FLIGHT = 2

    def __init__(self, ingester: Ingester, limits: Limits, visit: Visit) -> None:
        self._ingester = ingester
        self._limits = limits
        self._visit = visit
        self._collection = ""
        self._batches = 0
        self._under_way: dict[int, tuple[set[str], asyncio.Event]] = {}

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
        ids = {passage.id for passage in request.passages}
        before = [done for other, done in self._under_way.values() if not ids.isdisjoint(other)]
        stored = asyncio.Event()
        self._under_way[batch] = ids, stored
        try:
            passages = await Turns().collect(read_passages(request.passages, self._limits))
            for done in before:
                await done.wait()
            upserted = await self._ingester.upsert(self._collection, passages, call)
        finally:
            stored.set()
            del self._under_way[batch]
        return retrieval_pb2.StreamUpsertPassagesResponse(
            batch=batch, inserted=upserted.inserted, updated=upserted.updated
        )

    def _take_collection(self, name: str) -> None:
        if self._collection and name not in ("", self._collection):
            raise InvalidArgument(
                "collection", f"is another than {self._collection!r}, which this stream loads"
            )
        self._collection = self._collection or requests.collection_name(name)
