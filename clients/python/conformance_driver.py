"""Carry out the conformance suite's orders by AsyncClient: of both, the one that can cancel a call.

What an order says, and an outcome, clients/conformance/proto tells.
"""

import asyncio
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from clients.conformance.conformance_pb2 import Call, Connection, Error, Order, Outcome, Violation
from finesieve.v1 import feedback_pb2, rerank_pb2, retrieval_pb2, search_pb2
from finesieve.v1.feedback_pb2_grpc import FeedbackServiceStub
from finesieve_client import AsyncClient, FinesieveError, Tls, cited, connection, contract, prompt
from finesieve_client.calls.call import Call as ClientCall
from finesieve_client.errors import error_of_call

LENGTH = struct.Struct(">I")
KEPT_RESPONSES = 16
CANCELLED = 1
METHODS = {method.path.lstrip("/"): method for method in contract.METHODS}


class Driver:
    """Carries out orders, one after another; keeps the client of each connection."""

    def __init__(self) -> None:
        self._clients: dict[bytes, AsyncClient] = {}

    async def carry_out(self, order: Order) -> Outcome:
        """Return what came of an order."""
        outcome = Outcome()
        try:
            if order.HasField("prompt"):
                _write_prompt(order, outcome)
            elif order.HasField("wait_ready"):
                client = self._client(order.connection)
                await client.wait_ready(order.wait_ready.timeout_ms / 1e3)
            else:
                client = self._client(order.connection)
                await _call(client, order.connection, order.call, outcome)
        except FinesieveError as error:
            outcome.error.CopyFrom(_told(error))
        except (OSError, ValueError) as refusal:
            outcome.refusal = str(refusal)
        return outcome

    async def close(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            await client.close()

    def _client(self, order: Connection) -> AsyncClient:
        key = order.SerializeToString()
        if key not in self._clients:
            self._clients[key] = AsyncClient(
                order.target,
                tls=_tls(order),
                token=order.token,
                timeout_s=order.timeout_ms / 1e3 or connection.DEFAULT_TIMEOUT_S,
            )
        return self._clients[key]


async def _call(client: AsyncClient, order: Connection, call: Call, outcome: Outcome) -> None:
    responses = _responses(client, order, call)
    collecting = asyncio.create_task(_collect(responses, call, outcome))
    if call.HasField("cancel_after_ms"):
        asyncio.get_running_loop().call_later(call.cancel_after_ms / 1e3, collecting.cancel)
    try:
        await collecting
    except asyncio.CancelledError:
        outcome.error.code = CANCELLED


async def _collect(responses: AsyncIterator[Message], call: Call, outcome: Outcome) -> None:
    kept: deque[bytes] = deque(maxlen=KEPT_RESPONSES)
    collecting = asyncio.current_task()
    assert collecting is not None
    try:
        async for response in responses:
            kept.append(response.SerializeToString())
            outcome.response_count += 1
            if outcome.response_count == call.cancel_after_responses:
                collecting.cancel()
    finally:
        outcome.responses.extend(kept)


async def _responses(client: AsyncClient, order: Connection, call: Call) -> AsyncIterator[Any]:
    """Yield a call's responses, whatever kind it is of. Raises ValueError for an unknown method."""
    timeout_s = call.timeout_ms / 1e3 if call.HasField("timeout_ms") else None
    match call.method.split("/")[-1]:
        case "StreamRerank":
            reranks = _requests(call, rerank_pb2.StreamRerankRequest)
            pairs = ((each.request_id, each.request) for each in reranks)
            async for answer in client.stream_rerank(pairs, timeout_s=timeout_s):
                yield answer
        case "StreamUpsertPassages":
            first = retrieval_pb2.StreamUpsertPassagesRequest.FromString(call.requests[0])
            batches = _requests(call, retrieval_pb2.StreamUpsertPassagesRequest)
            async for stored in client.stream_upsert_passages(
                first.collection,
                (each.passages for each in batches),
                replace_documents=first.replace_documents,
                timeout_s=timeout_s,
            ):
                yield stored
        case "RecordFeedback" | "ExportTrainingPairs":
            async for answer in _feedback(order, call, timeout_s):
                yield answer
        case _:
            if call.method not in METHODS:
                raise ValueError(f"unknown method {call.method!r}")
            method = METHODS[call.method]
            request = method.request.FromString(call.requests[0])
            yield await client.call(ClientCall(method, request, timeout_s))


async def _feedback(order: Connection, call: Call, timeout_s: float | None) -> AsyncIterator[Any]:
    """Call what the client has no method for yet: by the stub, over its channel."""
    made = connection.Connection(order.target, _tls(order), order.token)
    async with made.async_channel() as channel:
        stub: Any = FeedbackServiceStub(channel)
        how: Any = {"timeout": timeout_s, "metadata": made.metadata()}
        try:
            if call.method.endswith("RecordFeedback"):
                recorded = feedback_pb2.RecordFeedbackRequest.FromString(call.requests[0])
                yield await stub.RecordFeedback(recorded, **how)
            else:
                export = feedback_pb2.ExportTrainingPairsRequest.FromString(call.requests[0])
                async for pairs in stub.ExportTrainingPairs(export, **how):
                    yield pairs
        except grpc.RpcError as error:
            raise error_of_call(error) from error


def _requests(call: Call, request_type: Any) -> Iterator[Any]:
    requests = [request_type.FromString(each) for each in call.requests]
    for _ in range(max(call.repeat, 1)):
        yield from requests


def _tls(order: Connection) -> Tls | None:
    paths = (order.root_certificates, order.client_certificate, order.client_key)
    if not (order.tls or order.server_name or any(paths)):
        return None
    root, certificate, key = (Path(path) if path else None for path in paths)
    return Tls(root, certificate, key, order.server_name)


def _told(error: FinesieveError) -> Error:
    return Error(
        code=error.code.value[0],
        message=error.message,
        reason=error.reason,
        metadata=error.metadata,
        violations=[Violation(field=v.field, description=v.description) for v in error.violations],
        retry_delay_s=error.retry_delay_s,
        request_id=error.request_id,
    )


def _write_prompt(order: Order, outcome: Outcome) -> None:
    hits = search_pb2.SearchResponse.FromString(order.prompt.search_response).hits
    outcome.prompt = prompt(order.prompt.question, hits)
    if order.prompt.answer:
        outcome.cited_ids.extend(cited(order.prompt.answer, hits))


async def main() -> None:
    """Carry out orders until there are no more."""
    driver = Driver()
    while header := await asyncio.to_thread(sys.stdin.buffer.read, LENGTH.size):
        content = await asyncio.to_thread(sys.stdin.buffer.read, *LENGTH.unpack(header))
        outcome = await driver.carry_out(Order.FromString(content))
        content = outcome.SerializeToString()
        sys.stdout.buffer.write(LENGTH.pack(len(content)) + content)
        sys.stdout.buffer.flush()
    await driver.close()


if __name__ == "__main__":
    asyncio.run(main())
