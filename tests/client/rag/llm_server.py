"""A real HTTP server on a free port that speaks OpenAI's chat completions as a test says.

    with LlmServer("Eels spawn in the Sargasso Sea [1].") as server:
        llm = Llm("scripted", base_url=server.base_url)

What it answers is a string, a list of answers (one per call, in order) or a function from the
request's JSON to an answer. An answer is a string, a Reply or a Fault. Tokens are counted as
words. `requests` holds what was asked, in order, each as its JSON.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from time import sleep
from typing import Any, Self, cast


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in full; streamed in pieces of a word each, unless they are given.

    `hang_up_after`: the connection of a stream breaks after so many pieces. `delay_s` comes before
    the answer begins.
    """

    text: str = ""
    finish_reason: str = "stop"
    refusal: str = ""
    pieces: Sequence[str] | None = None
    hang_up_after: int | None = None
    delay_s: float = 0.0
    with_usage: bool = True

    def in_pieces(self) -> Sequence[str]:
        if self.pieces is not None:
            return self.pieces
        words = self.text.split(" ")
        return [word if at == 0 else f" {word}" for at, word in enumerate(words)]


@dataclass(frozen=True, slots=True)
class Fault:
    """An error status; `body` replaces OpenAI's form of an error, and may be anything."""

    status: int
    message: str = "scripted"
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


Answer = str | Reply | Fault
Script = Answer | Sequence[Answer] | Callable[[dict[str, Any]], Answer]


class LlmServer:
    """Answers by a script; asks for `api_key` where one is given."""

    def __init__(self, script: Script, *, api_key: str = "") -> None:
        self.requests: list[dict[str, Any]] = []
        self.api_key = api_key
        self._script = script
        self._lock = Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        vars(self._server)["llm"] = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def prompts(self) -> list[str]:
        """Return the text of every call: its messages' contents below each other."""
        return [
            "\n".join(message["content"] for message in request["messages"])
            for request in self.requests
        ]

    def answer(self, request: dict[str, Any]) -> Answer:
        """Record a request and return what the script says to it."""
        with self._lock:
            self.requests.append(request)
            at = len(self.requests) - 1
        if callable(self._script):
            return self._script(request)
        if isinstance(self._script, str | Reply | Fault):
            return self._script
        if at >= len(self._script):
            return Fault(400, f"the script has {len(self._script)} answers; this is one more")
        return self._script[at]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        llm = cast("LlmServer", vars(self.server)["llm"])
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/chat/completions":
            self._fault(Fault(404, f"no route {self.path}"))
            return
        if llm.api_key and self.headers["authorization"] != f"Bearer {llm.api_key}":
            self._fault(Fault(401, "Incorrect API key provided.", code="invalid_api_key"))
            return
        answer = llm.answer(request)
        if isinstance(answer, Fault):
            self._fault(answer)
            return
        reply = Reply(answer) if isinstance(answer, str) else answer
        sleep(reply.delay_s)
        try:
            if request.get("stream"):
                self._stream(request, reply)
            else:
                self._whole(request, reply)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has hung up

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _fault(self, fault: Fault) -> None:
        error = {
            "message": fault.message,
            "type": "scripted",
            "param": fault.param,
            "code": fault.code,
        }
        body = json.dumps({"error": error}).encode() if fault.body is None else fault.body
        self._send(fault.status, body, fault.headers)

    def _whole(self, request: dict[str, Any], reply: Reply) -> None:
        message = {
            "role": "assistant",
            "content": reply.text or None,
            "refusal": reply.refusal or None,
        }
        body = {
            **head(request, "chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        }
        if reply.with_usage:
            body["usage"] = usage(request, reply)
        self._send(200, json.dumps(body).encode(), {})

    def _stream(self, request: dict[str, Any], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for at, event in enumerate(events(request, reply)):
            if at == reply.hang_up_after:
                self.close_connection = True
                return
            data = f"data: {event}\n\n".encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def events(request: dict[str, Any], reply: Reply) -> Iterator[str]:
    """Yield a stream's events as the API sends them: deltas, the reason, the usage, [DONE]."""
    base = head(request, "chat.completion.chunk")

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return json.dumps({**base, "choices": [choice]})

    for piece in reply.in_pieces():
        yield chunk({"content": piece})
    if reply.refusal:
        yield chunk({"refusal": reply.refusal})
    yield chunk({}, reply.finish_reason)
    if reply.with_usage and request.get("stream_options", {}).get("include_usage"):
        yield json.dumps({**base, "choices": [], "usage": usage(request, reply)})
    yield "[DONE]"


def head(request: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": request["model"]}


def usage(request: dict[str, Any], reply: Reply) -> dict[str, int]:
    prompt = sum(len(message["content"].split()) for message in request["messages"])
    completion = len(reply.text.split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
