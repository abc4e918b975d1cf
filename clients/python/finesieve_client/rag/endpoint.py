"""Say how one endpoint is asked, what its answers mean and how its failures read. No I/O."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from finesieve_client.extras import missing_extra
from finesieve_client.rag.completion import Completion, LlmError, Message, Prices, Usage

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk
    from openai.types.completion_usage import CompletionUsage

# The package insists on a key; endpoints on one's own machine often take none.
NO_KEY = "none"
# What some models do not take, or under another name; their 400 names it.
AVOIDABLE = ("max_tokens", "temperature", "stream_options", "response_format")
MOST_SAID = 300  # characters of an endpoint's own words in an error
# What reading an answer raises that is none; the package checks nothing.
_ODD = (AttributeError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Request:
    """One call: what is said, and how the answer should be."""

    messages: Sequence[Message]
    max_tokens: int | None = None
    temperature: float = 0.0
    json_schema: Mapping[str, Any] | None = None
    streams: bool = False


class Endpoint:
    """One model behind one base URL, and what its calls so far took. For any number of threads.

    No error shows the key, or what a base URL has of a password or a query. Raises LlmError where
    a setting is missing or cannot be.
    """

    def __init__(
        self, model: str, base_url: str | None, api_key: str | None, prices: Prices | None
    ) -> None:
        self.model = model or os.environ.get("OPENAI_MODEL", "")
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or "").strip() or None
        # A key that is read from a file has its line's end.
        key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
        self.api_key = key or (self.base_url and NO_KEY)
        if not self.model:
            raise LlmError("no model is named; give one, or set OPENAI_MODEL")
        if not self.api_key:
            raise LlmError(
                "there is neither an API key nor a base URL; set OPENAI_API_KEY, or "
                "OPENAI_BASE_URL for an endpoint of your own"
            )
        if not (key.isascii() and key.isprintable()):
            raise LlmError(
                "the API key has a character that no key has, such as a quotation mark of a text "
                "that it was copied from; check OPENAI_API_KEY"
            )
        self._shown, self._secrets = _without_secrets(self.base_url, key)
        self._prices = prices or Prices(0, 0)
        self._avoided: frozenset[str] = frozenset()
        self._usage = Usage()
        self._lock = Lock()

    @property
    def usage(self) -> Usage:
        """What all calls so far took."""
        return self._usage

    def count(self, usage: Usage) -> None:
        """Add what a call took."""
        with self._lock:
            self._usage += usage

    def arguments(self, request: Request) -> dict[str, Any]:
        """Return a request as the package takes it, without what this model does not."""
        arguments: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": each.role, "content": whole(each.content)} for each in request.messages
            ],
        }
        if "temperature" not in self._avoided:
            arguments["temperature"] = request.temperature
        if request.max_tokens is not None:
            renamed = "max_tokens" in self._avoided
            arguments["max_completion_tokens" if renamed else "max_tokens"] = request.max_tokens
        if request.json_schema is not None and "response_format" not in self._avoided:
            schema = {"name": "answer", "schema": dict(request.json_schema), "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.streams:
            arguments["stream"] = True
            if "stream_options" not in self._avoided:
                arguments["stream_options"] = {"include_usage": True}
        return arguments

    def check_avoidable(self, error: Exception, arguments: Mapping[str, Any]) -> None:
        """Raise LlmError, unless the same request can be put in another way, which is noted."""
        refused = getattr(error, "param", None)
        if getattr(error, "status_code", None) != 400 or refused not in AVOIDABLE:
            raise self.error(error) from error
        if refused not in arguments:
            raise self.error(error) from error
        self._avoided |= {refused}

    def completion(self, answer: object) -> Completion:
        """Return an answer that came as a whole, and count what it took; raises LlmError."""
        choices = getattr(answer, "choices", None)
        if not choices:
            raise self.not_a_completion()
        usage = self.usage_of(getattr(answer, "usage", None))
        self.count(usage)
        try:
            message = choices[0].message
            return Completion(
                text=whole(_text(message.content)),
                usage=usage,
                finish_reason=_text(choices[0].finish_reason),
                refusal=whole(_text(getattr(message, "refusal", None))),
            )
        except _ODD as error:
            raise self.not_a_completion() from error

    def usage_of(self, counted: "CompletionUsage | None") -> Usage:
        """Return what one call took; some endpoints do not count."""
        prompt_tokens = _count(getattr(counted, "prompt_tokens", None))
        completion_tokens = _count(getattr(counted, "completion_tokens", None))
        cost = self._prices.cost(prompt_tokens, completion_tokens)
        return Usage(1, prompt_tokens, completion_tokens, cost)

    def error(self, error: Exception) -> LlmError:
        """Return what a failure means to whoever set the endpoint up."""
        import openai

        where = f"the LLM endpoint {self._shown or 'of OpenAI'}"
        match error:
            case openai.APITimeoutError():
                return LlmError(f"{where} did not answer in time; a longer timeout gives it more")
            case openai.APIConnectionError():
                return LlmError(
                    f"{where} is not reachable, or hung up; check the base URL"
                    f"{self._quoted(str(error.__cause__ or ''))}"
                )
            case json.JSONDecodeError() | openai.APIResponseValidationError():
                return self.not_a_completion()
            case openai.APIStatusError():
                text = f"{where} {self._refusal(error.status_code)}{self._said(error)}"
                return LlmError(text, error.status_code)
            case _ if isinstance(error, _broken()):
                return LlmError(f"{where} hung up{self._quoted(str(error))}")
        return LlmError(f"{where} failed{self._said(error)}")

    def _refusal(self, status_code: int) -> str:
        match status_code:
            case 401:
                return "does not take the API key; check OPENAI_API_KEY"
            case 403:
                return f"does not let this API key use {self.model!r}"
            case 404:
                return (
                    f"has no model {self.model!r}, or no chat completions at this base URL, "
                    "which most often ends in /v1"
                )
            case 429:
                return "takes no more calls now: a rate limit or a quota"
        said = "failed" if status_code >= 500 else "refused the request"
        return f"{said} with status {status_code}"

    def not_a_completion(self) -> LlmError:
        """Return the error of an answer that is something else, or nothing at all."""
        return LlmError(
            f"what answers at {self._shown or 'OpenAI'} is no chat completion; check the base "
            "URL, which most often ends in /v1"
        )

    def _said(self, error: Exception) -> str:
        """Return what the endpoint itself said of a failure, to be put behind our own words."""
        body = getattr(error, "body", None)
        message = body.get("message") if isinstance(body, Mapping) else body
        if not isinstance(message, str) or message.lstrip().startswith("<"):
            return ""  # a proxy's page
        return self._quoted(message)

    def _quoted(self, words: str) -> str:
        """Return words that are not ours, in parentheses and without what nobody should read."""
        for secret in self._secrets:
            words = words.replace(secret, "…")
        shown = whole(words).strip()[:MOST_SAID]
        return f" ({shown})" if shown else ""


class Pieces:
    """One answer that comes in pieces: what came so far."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._half = ""  # of a pair of surrogates; the other may be on its way
        self._finish_reason = ""
        self._counted: CompletionUsage | None = None
        self._chunks = 0

    @property
    def completion(self) -> Completion:
        """What came so far; its usage is known at the end."""
        return Completion(
            text="".join(self._text),
            usage=self._endpoint.usage_of(self._counted),
            finish_reason=self._finish_reason,
            refusal=whole("".join(self._refusal)),
        )

    def take(self, chunk: "ChatCompletionChunk") -> str:
        """Take one chunk and return its text, which may be empty; raises LlmError."""
        self._chunks += 1
        self._counted = getattr(chunk, "usage", None) or self._counted
        piece = self._half
        try:
            for choice in getattr(chunk, "choices", None) or ():
                self._finish_reason = _text(choice.finish_reason) or self._finish_reason
                if choice.delta is not None:
                    piece += _text(choice.delta.content)
                    self._refusal.append(_text(getattr(choice.delta, "refusal", None)))
        except _ODD as error:
            raise self._endpoint.not_a_completion() from error
        self._half = piece[-1:] if "\ud800" <= piece[-1:] <= "\udbff" else ""
        return self._taken(piece.removesuffix(self._half))

    def end(self) -> str:
        """Return what still waited; raises LlmError where the stream brought nothing at all."""
        if not self._chunks:
            raise self._endpoint.not_a_completion()
        return self._taken(self._half)

    def _taken(self, piece: str) -> str:
        self._text.append(whole(piece))
        return self._text[-1]


def package() -> ModuleType:
    """Import the `openai` package; raises MissingExtra."""
    try:
        import openai
    except ModuleNotFoundError as error:
        raise missing_extra("asking a language model needs", "openai", "rag") from error
    return openai


def failures() -> tuple[type[Exception], ...]:
    """Return what the package raises: its own errors, and what it lets through.

    That is the JSON reader's of a bad answer and, of openai 2, the transport's of a broken stream.
    """
    return (package().OpenAIError, json.JSONDecodeError, *_broken())


def _broken() -> tuple[type[Exception], ...]:
    """Return the errors of the HTTP library that the package has imported."""
    transports = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return tuple(transport.HTTPError for transport in transports if transport is not None)


def whole(text: str) -> str:
    """Return text in which pairs of surrogates are joined, and half a pair is U+FFFD.

    JSON can write half a character; endpoints that cut an answer at its tokens do.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text(given: object) -> str:
    """Return a text, which some endpoints send as a list of parts; raises TypeError."""
    match given:
        case None:
            return ""
        case str():
            return given
        case list():
            texts = [each for each in given if each.get("type") == "text"]
            return "".join(_text(each["text"]) for each in texts)
    raise TypeError(type(given))


def _count(given: object) -> int:
    return given if type(given) is int and given > 0 else 0


def _without_secrets(url: str | None, key: str) -> tuple[str, list[str]]:
    """Return a base URL as an error may show it, and what no error may; raises LlmError."""
    bad = LlmError("the base URL is no address that begins with http:// or https://")
    try:
        parts = urlsplit(url or "https://api.openai.com")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise bad from error
    if not usable or not (url or "").isprintable():
        raise bad
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if url else ""
    secrets = [key, parts.password, *(value for _, value in parse_qsl(parts.query))]
    return shown, [secret for secret in secrets if secret]
