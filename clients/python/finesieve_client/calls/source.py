"""Feed a stream from a caller's iterable, and keep the exception that ends it too early.

gRPC would log that exception and answer UNKNOWN. Here the stream ends as if the items had: what
was sent is still answered, and then `check` raises what the caller's iterable raised.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Message = TypeVar("Message")


class Source(Generic[Item, Message]):
    """The messages of one stream, made from a caller's items one by one."""

    def __init__(
        self, message: Callable[[Item], Message], items: Iterable[Item] | AsyncIterable[Item]
    ) -> None:
        self._message = message
        self._items = items
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[Message]:
        assert isinstance(self._items, Iterable)
        try:
            yield from map(self._message, self._items)
        except Exception as error:  # noqa: BLE001  it is the caller's, and `check` raises it
            self._error = error

    async def __aiter__(self) -> AsyncIterator[Message]:
        try:
            if isinstance(self._items, AsyncIterable):
                async for item in self._items:
                    yield self._message(item)
            else:
                for item in self._items:
                    yield self._message(item)
        except Exception as error:  # noqa: BLE001  it is the caller's, and `check` raises it
            self._error = error

    def check(self) -> None:
        """Raise what the items raised, if they did."""
        if self._error is not None:
            raise self._error
