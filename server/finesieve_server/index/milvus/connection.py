"""Call Milvus off the event loop, and say in our errors what went wrong there."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import grpc  # pymilvus lets gRPC's own errors through
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from finesieve_server.errors import (
    CollectionNotFound,
    FailedPrecondition,
    FinesieveError,
    InvalidArgument,
    Overloaded,
    StorageFull,
    Unavailable,
)

Consistency = Literal["Strong", "Session", "Bounded", "Eventually"]

CALLS = 16  # to Milvus at a time
RETRY_S = 1.0

Result = TypeVar("Result")

# Milvus's codes (pkg/util/merr/errors.go), by what they mean to our callers. pymilvus gives its own
# errors the code 1, which there is "not ready": `retriable` tells them apart.
_NOT_READY = {2, 101, 103, 106, 201, 202, 401, 500, 503}  # starting, loading, moving
_TOO_FAST = {4, 8}
_FULL = {3, 7, 9}  # memory, disk, or a quota of the cluster's
_NOT_FOUND = 100
_REFUSED = {1100, 1101, 1102, grpc.StatusCode.RESOURCE_EXHAUSTED}  # the last: too large
_CREDENTIALS = {1400, 1401}
# All that pymilvus says of a file that milvus-lite cannot open.
_NOT_OPENED = "Open local milvus failed"
_UNREACHED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@dataclass(frozen=True, slots=True)
class Address:
    """Where Milvus is: http(s)://host:port, or the path of a file for milvus-lite."""

    uri: str
    token: str = ""  # "user:password" or an API key
    database: str = ""
    timeout_s: float = 30.0
    consistency: Consistency = "Strong"

    def __str__(self) -> str:
        """Return the address without the credentials that it may hold."""
        if "://" not in self.uri:
            return self.uri
        parts = urlsplit(self.uri)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 19530}"


class Connection:
    """One client and its threads."""

    def __init__(self, address: Address) -> None:
        """Connect; blocks. Raises Unavailable."""
        # pymilvus logs errors by itself, with the filters and texts that they quote.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
        self.address = address
        try:
            self._client = MilvusClient(
                address.uri,
                token=address.token,
                db_name=address.database,
                timeout=address.timeout_s,
            )
        except (MilvusException, grpc.RpcError) as error:
            told = _told(error)
            if told == _NOT_OPENED:
                told += "; another process may have it open, which milvus-lite lets one alone do"
            raise Unavailable(f"Milvus at {address} cannot be reached: {told}") from None
        self._executor = ThreadPoolExecutor(CALLS, "milvus")

    async def run(
        self, work: Callable[["Caller"], Result], collection: str, executor: Executor | None = None
    ) -> Result:
        """Return what `work` returns, which blocks; `collection` is what it is about.

        Work that has not begun when its caller gives up is dropped; a call under way ends with its
        answer, or with the time it may take.
        """
        caller = Caller(self._client, self.address, collection)
        return await asyncio.get_running_loop().run_in_executor(
            executor or self._executor, work, caller
        )

    def close(self) -> None:
        """Let the calls under way end, and hang up; blocks."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._client.close()


@dataclass(frozen=True, slots=True)
class Caller:
    """Milvus's client for one piece of work, with our errors and timeouts."""

    client: MilvusClient
    address: Address
    collection: str

    def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of MilvusClient. Raises what the table below makes of its errors."""
        options.setdefault("timeout", self.address.timeout_s)
        try:
            return getattr(self.client, method)(*arguments, **options)
        except (MilvusException, grpc.RpcError) as error:
            raise self._translated(error) from error

    def _translated(self, error: MilvusException | grpc.RpcError) -> Exception:
        code = error.code() if isinstance(error, grpc.RpcError) else error.code
        retriable = isinstance(error, MilvusException) and error.retriable
        meant: FinesieveError | None = None
        if code == _NOT_FOUND:
            meant = CollectionNotFound(self.collection)
        elif code in _TOO_FAST:
            meant = Overloaded("Milvus takes no more at this rate", retry_after_s=RETRY_S)
        elif code in _FULL:
            meant = StorageFull(f"Milvus takes no more data: {_told(error)}")
        elif code in _REFUSED:
            meant = InvalidArgument("", f"Milvus refuses the request: {_told(error)}")
        elif code in _CREDENTIALS or code == grpc.StatusCode.UNAUTHENTICATED:
            meant = FailedPrecondition("Milvus does not accept this server's credentials")
        elif code in _UNREACHED or code in _NOT_READY or retriable:
            meant = Unavailable(f"Milvus does not answer: {_told(error)}", retry_after_s=RETRY_S)
        return meant or error  # what nobody foresaw is a bug, and its detail goes to the log


def _told(error: MilvusException | grpc.RpcError) -> str:
    """Return Milvus's own words, the first line of them."""
    words = error.message if isinstance(error, MilvusException) else error.details()
    return str(words).partition("\n")[0][:300]
