"""Ask a language model behind any endpoint that speaks OpenAI's chat completions.

The `openai` package (extra `rag`) does the speaking and the retries; `endpoint` decides what a
request holds, what its answer means and how a failure reads.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from finesieve_client.rag.completion import Completion, LlmError, Message, Prices, Usage
from finesieve_client.rag.endpoint import Endpoint, Pieces, Request, failures, package

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk

__all__ = [
    "AsyncLlm",
    "AsyncStream",
    "Completion",
    "Llm",
    "LlmError",
    "Message",
    "Prices",
    "Stream",
    "Usage",
]

TIMEOUT_S = 60.0
MAX_RETRIES = 2


class Llm:
    """One model behind one endpoint, for any number of threads.

    What is not given is read from OPENAI_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY; an endpoint
    with a base URL may need no key. Rate limits, timeouts and failures of the endpoint are tried
    again `max_retries` times. `timeout_s` is how long it may be silent. `prices` give `usage` its
    cost. Raises LlmError where a setting is missing or cannot be, MissingExtra without the
    `openai` package.
    """

    def __init__(
        self,
        model: str = "",
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        prices: Prices | None = None,
    ) -> None:
        make = package().OpenAI
        self._endpoint = Endpoint(model, base_url, api_key, prices)
        self._client: openai.OpenAI = make(
            base_url=self._endpoint.base_url,
            api_key=self._endpoint.api_key,
            timeout=timeout_s,
            max_retries=max_retries,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def model(self) -> str:
        """The model's name."""
        return self._endpoint.model

    @property
    def usage(self) -> Usage:
        """What all calls so far took."""
        return self._endpoint.usage

    def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
    ) -> Completion:
        """Return the model's answer; raises LlmError. `json_schema` is the form it must have."""
        request = Request(messages, max_tokens, temperature, json_schema)
        return self._endpoint.completion(self._ask(request))

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
    ) -> "Stream":
        """Return the answer's pieces as they come; nothing is sent before the first is asked for.

        Asking for a piece raises LlmError. `completion` of what is returned has the rest.
        """
        pieces = Pieces(self._endpoint)
        request = Request(messages, max_tokens, temperature, streams=True)
        return Stream(pieces, self._read(request, pieces))

    def _ask(self, request: Request) -> Any:
        while True:
            arguments = self._endpoint.arguments(request)
            try:
                return self._client.chat.completions.create(**arguments)
            except failures() as error:
                self._endpoint.check_avoidable(error, arguments)

    def _read(self, request: Request, pieces: Pieces) -> Generator[str, None, None]:
        chunks = cast("openai.Stream[ChatCompletionChunk]", self._ask(request))
        try:
            with chunks:
                for chunk in chunks:
                    if piece := pieces.take(chunk):
                        yield piece
        except failures() as error:
            raise self._endpoint.error(error) from error
        finally:
            self._endpoint.count(pieces.completion.usage)
        if rest := pieces.end():
            yield rest


class Stream(Iterator[str]):
    """The pieces of one answer; `close` before the end hangs up."""

    def __init__(self, pieces: Pieces, texts: Generator[str, None, None]) -> None:
        self._pieces = pieces
        self._texts = texts

    def __next__(self) -> str:
        return next(self._texts)

    def close(self) -> None:
        """Hang up."""
        self._texts.close()

    @property
    def completion(self) -> Completion:
        """What came so far; its usage is known at the end."""
        return self._pieces.completion


class AsyncLlm:
    """What `Llm` is, for asyncio."""

    def __init__(
        self,
        model: str = "",
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        prices: Prices | None = None,
    ) -> None:
        make = package().AsyncOpenAI
        self._endpoint = Endpoint(model, base_url, api_key, prices)
        self._client: openai.AsyncOpenAI = make(
            base_url=self._endpoint.base_url,
            api_key=self._endpoint.api_key,
            timeout=timeout_s,
            max_retries=max_retries,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    @property
    def model(self) -> str:
        """The model's name."""
        return self._endpoint.model

    @property
    def usage(self) -> Usage:
        """What all calls so far took."""
        return self._endpoint.usage

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
    ) -> Completion:
        """Return the model's answer; raises LlmError. `json_schema` is the form it must have."""
        request = Request(messages, max_tokens, temperature, json_schema)
        return self._endpoint.completion(await self._ask(request))

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
    ) -> "AsyncStream":
        """Return the answer's pieces as they come; nothing is sent before the first is asked for.

        Asking for a piece raises LlmError. `completion` of what is returned has the rest.
        """
        pieces = Pieces(self._endpoint)
        request = Request(messages, max_tokens, temperature, streams=True)
        return AsyncStream(pieces, self._read(request, pieces))

    async def _ask(self, request: Request) -> Any:
        while True:
            arguments = self._endpoint.arguments(request)
            try:
                return await self._client.chat.completions.create(**arguments)
            except failures() as error:
                self._endpoint.check_avoidable(error, arguments)

    async def _read(self, request: Request, pieces: Pieces) -> AsyncGenerator[str, None]:
        chunks = cast("openai.AsyncStream[ChatCompletionChunk]", await self._ask(request))
        try:
            async with chunks:
                async for chunk in chunks:
                    if piece := pieces.take(chunk):
                        yield piece
        except failures() as error:
            raise self._endpoint.error(error) from error
        finally:
            self._endpoint.count(pieces.completion.usage)
        if rest := pieces.end():
            yield rest


class AsyncStream(AsyncIterator[str]):
    """What `Stream` is, for asyncio."""

    def __init__(self, pieces: Pieces, texts: AsyncGenerator[str, None]) -> None:
        self._pieces = pieces
        self._texts = texts

    async def __anext__(self) -> str:
        return await anext(self._texts)

    async def aclose(self) -> None:
        """Hang up."""
        await self._texts.aclose()

    @property
    def completion(self) -> Completion:
        """What came so far; its usage is known at the end."""
        return self._pieces.completion
