"""The model's side of RAG, through the real `openai` package over real HTTP."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import openai
import pytest

from finesieve_client.rag.llm import AsyncLlm, Llm, LlmError, Message, Prices, Usage
from tests.client.rag.llm_server import Fault, LlmServer, Reply

ASKED = [Message("system", "Be brief."), Message("user", "Where do eels spawn?")]
ANSWER = "In the Sargasso Sea."


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_an_answer_and_what_it_took() -> None:
    with LlmServer(ANSWER) as server:
        llm = Llm("m", base_url=server.base_url, prices=Prices(prompt=2.0, completion=8.0))

        completion = llm.complete(ASKED, max_tokens=50)

    assert completion.text == ANSWER
    assert completion.finish_reason == "stop"
    assert completion.usage.calls == 1
    assert completion.usage.prompt_tokens == 6
    assert completion.usage.completion_tokens == 4
    assert completion.usage.cost == pytest.approx((6 * 2 + 4 * 8) / 1e6)
    assert llm.usage == completion.usage
    assert server.requests[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where do eels spawn?"},
    ]
    assert server.requests[0]["temperature"] == 0
    assert server.requests[0]["max_tokens"] == 50


async def test_the_same_awaited() -> None:
    with LlmServer(ANSWER) as server:
        async with AsyncLlm("m", base_url=server.base_url) as llm:
            completion = await llm.complete(ASKED)

            assert completion.text == ANSWER
            assert llm.usage == Usage(1, 6, 4)


def test_a_streamed_answer_comes_in_pieces_and_is_counted_at_its_end() -> None:
    with LlmServer(ANSWER) as server:
        llm = Llm("m", base_url=server.base_url)

        stream = llm.stream(ASKED)
        pieces = list(stream)

    assert pieces == ["In", " the", " Sargasso", " Sea."]
    assert stream.completion.text == ANSWER
    assert stream.completion.finish_reason == "stop"
    assert stream.completion.usage == llm.usage == Usage(1, 6, 4)


async def test_the_same_stream_for_asyncio() -> None:
    with LlmServer(ANSWER) as server:
        async with AsyncLlm("m", base_url=server.base_url) as llm:
            stream = llm.stream(ASKED)

            assert [piece async for piece in stream] == ["In", " the", " Sargasso", " Sea."]
            assert stream.completion.usage == llm.usage == Usage(1, 6, 4)


def test_who_hangs_up_early_is_counted_as_one_call() -> None:
    with LlmServer(ANSWER) as server:
        llm = Llm("m", base_url=server.base_url)

        with closing(llm.stream(ASKED)) as stream:
            assert next(stream) == "In"

        assert llm.usage == Usage(1, 0, 0)


def test_calls_of_many_threads_are_all_counted() -> None:
    with LlmServer(ANSWER) as server, ThreadPoolExecutor(8) as threads:
        llm = Llm("m", base_url=server.base_url)

        list(threads.map(lambda _: llm.complete(ASKED), range(40)))

    assert llm.usage == Usage(40, 240, 160)


def test_an_answer_in_a_given_form_is_asked_for_by_its_schema() -> None:
    schema = {"type": "object", "properties": {"queries": {"type": "array"}}}
    with LlmServer('{"queries": []}') as server:
        Llm("m", base_url=server.base_url).complete(ASKED, json_schema=schema)

    assert server.requests[0]["response_format"]["type"] == "json_schema"
    assert server.requests[0]["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize("streams", [False, True])
def test_a_models_refusal_is_told_apart_from_its_answer(streams: bool) -> None:
    with LlmServer(Reply(refusal="I will not.")) as server:
        llm = Llm("m", base_url=server.base_url)

        if streams:
            stream = llm.stream(ASKED)
            assert "".join(stream) == ""
            completion = stream.completion
        else:
            completion = llm.complete(ASKED)

    assert completion.text == ""
    assert completion.refusal == "I will not."


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_passing_failures_are_tried_again(status: int) -> None:
    script = [Fault(status, headers={"retry-after-ms": "1"})] * 2 + [ANSWER]
    with LlmServer(script) as server:
        completion = Llm("m", base_url=server.base_url).complete(ASKED)

    assert completion.text == ANSWER
    assert len(server.requests) == 3


FAILURES = {
    "a wrong key": (Fault(401, "Incorrect API key."), 401, "check OPENAI_API_KEY (Incorrect"),
    "no right": (Fault(403), 403, "does not let this API key use 'm'"),
    "no such model": (Fault(404), 404, "has no model 'm'"),
    "a rate limit": (Fault(429, "slow down"), 429, "takes no more calls now"),
    "its own failure": (Fault(500), 500, "failed with status 500 (scripted)"),
    "a bad request": (Fault(400, "too long"), 400, "refused the request with status 400 (too lo"),
    "an error page": (Fault(502, body=b"<html>bad gateway"), 502, "failed with status 502"),
    "broken JSON": (Fault(200, body=b'{"choices": ['), None, "no chat completion"),
    "other JSON": (Fault(200, body=b'{"hello": "world"}'), None, "no chat completion"),
    "a web page": (
        Fault(200, body=b"<html>", headers={"content-type": "text/html"}),
        None,
        "no chat completion",
    ),
    "no choice": (Fault(200, body=b'{"choices": []}'), None, "no chat completion"),
}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_is_one_kind_of_error_that_says_what_to_do(name: str, streams: bool) -> None:
    script, status_code, words = FAILURES[name]
    with LlmServer(script) as server:
        llm = Llm("m", base_url=server.base_url, max_retries=0)

        with pytest.raises(LlmError) as raised:
            "".join(llm.stream(ASKED)) if streams else llm.complete(ASKED)

    assert raised.value.status_code == status_code
    assert words in str(raised.value)
    if status_code is not None:
        assert isinstance(raised.value.__cause__, openai.APIStatusError)


async def test_the_same_errors_for_asyncio() -> None:
    with LlmServer(Fault(401)) as server:
        async with AsyncLlm("m", base_url=server.base_url) as llm:
            with pytest.raises(LlmError, match="check OPENAI_API_KEY"):
                await llm.complete(ASKED)
            with pytest.raises(LlmError, match="check OPENAI_API_KEY"):
                [piece async for piece in llm.stream(ASKED)]


@pytest.mark.parametrize("api_key", ["sk-SECRET\n", " sk-SECRET", "sk-SECRET\r\n"])
def test_a_key_is_taken_without_the_end_of_its_line(api_key: str) -> None:
    with LlmServer(ANSWER, api_key="sk-SECRET") as server:
        llm = Llm("m", base_url=server.base_url, api_key=api_key)

        assert llm.complete(ASKED).text == ANSWER


@pytest.mark.parametrize("api_key", ["sk-SECRET “x”", "sk-SEC\x00RET", "sk-SEC\nRET"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(api_key: str) -> None:
    with pytest.raises(LlmError, match="the API key has a character") as raised:
        Llm("m", base_url="http://127.0.0.1:1/v1", api_key=api_key)

    assert "SEC" not in str(raised.value)


@pytest.mark.parametrize(
    "base_url", ["http://ex\x00", "http://[", "http://x:99999/v1", "localhost:1/v1", "file:///etc"]
)
def test_what_cannot_be_a_base_url_is_refused(base_url: str) -> None:
    with pytest.raises(LlmError, match="begins with http:// or https://"):
        Llm("m", base_url=base_url)


@pytest.mark.parametrize(
    "script",
    [
        Fault(401, "Incorrect API key provided: sk-SECRET."),
        Fault(200, body=b'{"hello": "world"}'),
    ],
)
@pytest.mark.parametrize("base_url", ["http://user:SECRET@{}", "http://{}?key=SECRET", "http://{}"])
def test_no_error_shows_a_secret(base_url: str, script: Fault) -> None:
    with LlmServer(script) as server:
        address = server.base_url.removeprefix("http://")
        llm = Llm("m", base_url=base_url.format(address), api_key="sk-SECRET", max_retries=0)

        with pytest.raises(LlmError) as raised:
            llm.complete(ASKED)

    assert "SECRET" not in str(raised.value)  # neither as ours nor in the endpoint's words
    assert f"http://{address.split('/')[0]}/v1" in str(raised.value)


def message(**fields: object) -> bytes:
    return json.dumps({"choices": [{"message": fields, "finish_reason": "stop"}]}).encode()


ODD = {
    "a content that is a number": message(content=7),
    "a refusal that is an object": message(content=None, refusal={"a": 1}),
    "choices as an object": b'{"choices": {"a": 1}}',
    "choices as a text": b'{"choices": "abc"}',
    "a choice that is null": b'{"choices": [null]}',
    "a choice without a message": b'{"choices": [{}]}',
    "a message that is a text": b'{"choices": [{"message": "hi"}]}',
    "a part without its text": message(content=[{"type": "text"}]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_as_the_api_has_it_is_no_completion(name: str) -> None:
    with LlmServer(Fault(200, body=ODD[name])) as server:
        llm = Llm("m", base_url=server.base_url)

        with pytest.raises(LlmError, match="no chat completion"):
            llm.complete(ASKED)


@pytest.mark.parametrize(
    "choices",
    [
        [{"delta": "x"}],
        [{"delta": {"content": 7}}],
        [{"delta": {"refusal": 5}}],
        [None],
        "abc",
        [{"delta": {}, "finish_reason": 3}],
    ],
)
def test_what_is_no_piece_is_no_completion(choices: object) -> None:
    with LlmServer(streamed({"choices": choices})) as server:
        stream = Llm("m", base_url=server.base_url).stream(ASKED)

        with pytest.raises(LlmError, match="no chat completion"):
            list(stream)


def streamed(*events: object) -> Fault:
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return Fault(200, body=body.encode(), headers={"content-type": "text/event-stream"})


def test_a_content_in_parts_is_their_text() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "At "},
        {"type": "text", "text": "sea."},
    ]
    chunk = {"choices": [{"index": 0, "delta": {"content": parts}}]}
    with LlmServer([Fault(200, body=message(content=parts)), streamed(chunk)]) as server:
        llm = Llm("m", base_url=server.base_url)

        assert llm.complete(ASKED).text == "At sea."
        assert list(llm.stream(ASKED)) == ["At sea."]


@pytest.mark.parametrize("usage", ['{"prompt_tokens": "12"}', '{"prompt_tokens": -5}', "[1]"])
def test_what_is_no_count_counts_nothing(usage: str) -> None:
    body = message(content=ANSWER).decode().removesuffix("}") + f', "usage": {usage}}}'
    with LlmServer(Fault(200, body=body.encode())) as server:
        completion = Llm("m", base_url=server.base_url).complete(ASKED)

    assert completion.text == ANSWER
    assert completion.usage == Usage(calls=1)


def test_halves_of_a_character_are_joined_and_a_lone_one_is_replaced() -> None:
    pieces = ["a \ud83d", "\ude00", " \ude00 \ud83d", "b", "\ud83d"]
    joined = "a \U0001f600 \ufffd \ufffdb\ufffd"
    with LlmServer(Reply("".join(pieces), pieces=pieces, refusal="\ud83d")) as server:
        llm = Llm("m", base_url=server.base_url)
        completion = llm.complete([Message("user", "lone \ud800")])
        stream = llm.stream(ASKED)

        assert list(stream) == ["a ", "\U0001f600", " \ufffd ", "\ufffdb", "\ufffd"]
        assert completion.text == stream.completion.text == joined
        assert completion.refusal == stream.completion.refusal == "\ufffd"
    assert server.requests[0]["messages"][0]["content"] == "lone \ufffd"


def test_an_endpoint_that_is_not_there() -> None:
    with LlmServer(ANSWER) as server:
        base_url = server.base_url

    with pytest.raises(LlmError, match=r"not reachable.*check the base URL.*refused") as raised:
        Llm("m", base_url=base_url, max_retries=0).complete(ASKED)

    assert raised.value.status_code is None


def test_an_endpoint_that_is_silent_for_too_long() -> None:
    with LlmServer(Reply(ANSWER, delay_s=0.5)) as server:
        llm = Llm("m", base_url=server.base_url, timeout_s=0.05, max_retries=0)

        with pytest.raises(LlmError, match="did not answer in time"):
            llm.complete(ASKED)


def test_a_stream_that_breaks_is_an_error_after_what_came() -> None:
    with LlmServer(Reply(ANSWER, hang_up_after=2)) as server:
        stream = Llm("m", base_url=server.base_url).stream(ASKED)

        assert [next(stream), next(stream)] == ["In", " the"]
        with pytest.raises(LlmError, match="hung up"):
            next(stream)

    assert stream.completion.text == "In the"


def test_a_model_that_takes_a_parameter_otherwise_is_asked_again_and_remembered() -> None:
    def picky(request: dict[str, object]) -> str | Fault:
        for name in ("max_tokens", "temperature", "response_format"):
            if name in request:
                return Fault(400, f"{name} is not supported", param=name)
        return ANSWER

    with LlmServer(picky) as server:
        llm = Llm("m", base_url=server.base_url)

        assert llm.complete(ASKED, max_tokens=9, json_schema={}).text == ANSWER
        assert llm.complete(ASKED, json_schema={}).text == ANSWER
        assert "".join(llm.stream(ASKED, max_tokens=9)) == ANSWER

    assert [sorted(request) for request in server.requests[3:]] == [
        ["max_completion_tokens", "messages", "model"],
        ["messages", "model"],
        ["max_completion_tokens", "messages", "model", "stream", "stream_options"],
    ]


def test_threads_that_learn_the_same_at_once_are_all_answered() -> None:
    everyone = Barrier(8)

    def picky(request: dict[str, object]) -> str | Fault:
        if "temperature" in request:
            everyone.wait(10)
            return Fault(400, "temperature is not supported", param="temperature")
        return ANSWER

    with LlmServer(picky) as server, ThreadPoolExecutor(8) as threads:
        llm = Llm("m", base_url=server.base_url)

        completions = list(threads.map(lambda _: llm.complete(ASKED), range(8)))

    assert [completion.text for completion in completions] == [ANSWER] * 8


def test_a_parameter_that_was_not_sent_is_not_tried_again() -> None:
    with LlmServer(Fault(400, param="max_tokens")) as server:
        with pytest.raises(LlmError, match="refused the request with status 400"):
            Llm("m", base_url=server.base_url).complete(ASKED)

        assert len(server.requests) == 1


def test_an_endpoint_that_does_not_count_costs_nothing() -> None:
    with LlmServer(Reply(ANSWER, with_usage=False)) as server:
        llm = Llm("m", base_url=server.base_url, prices=Prices(1.0, 1.0))
        llm.complete(ASKED)
        list(llm.stream(ASKED))

    assert llm.usage == Usage(calls=2)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with LlmServer(ANSWER, api_key="secret") as server:
        monkeypatch.setenv("OPENAI_MODEL", "named")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")

        assert Llm().complete(ASKED).text == ANSWER

    assert server.requests[0]["model"] == "named"


def test_what_is_missing_is_said_before_any_call() -> None:
    with pytest.raises(LlmError, match="set OPENAI_MODEL"):
        Llm(base_url="http://127.0.0.1:1/v1")
    with pytest.raises(LlmError, match="set OPENAI_API_KEY"):
        Llm("m")


def test_without_the_openai_package_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['openai'] = None\n"
        "import finesieve_client\n"
        "from finesieve_client.rag.llm import Llm\n"
        "Llm('m', base_url='http://127.0.0.1:1/v1')"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.stderr.endswith(
        "MissingExtra: asking a language model needs openai: pip install 'finesieve[rag]'\n"
    )
