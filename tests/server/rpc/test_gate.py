import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from finesieve.v1 import rerank_pb2
from finesieve_server import errors
from finesieve_server.rpc.admission import Admission, Phase
from finesieve_server.rpc.gate import Gate
from finesieve_server.rpc.streams import answered
from finesieve_server.rpc.visit import Visit
from finesieve_server.search.call import Call
from finesieve_server.telemetry import Metrics
from tests.server.rpc.wire import Wire, end_of, outcome_of, serving

RERANK = "/finesieve.v1.RerankService/Rerank"
STREAM = "/finesieve.v1.RerankService/StreamRerank"
DESCRIPTOR = rerank_pb2.DESCRIPTOR.services_by_name["RerankService"]
EMPTY = rerank_pb2.RerankRequest()
SECRET = "what the passage says"

Behaviour = Callable[[rerank_pb2.RerankRequest, Call], Awaitable[rerank_pb2.RerankResponse]]


class Servicer:
    """Answers as the test says; streams answer each request by the same behaviour."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.Rerank = behaviour

    def StreamRerank(
        self, requests: AsyncIterator[rerank_pb2.StreamRerankRequest], visit: Visit
    ) -> AsyncGenerator[rerank_pb2.StreamRerankResponse, None]:
        async def answer(
            message: rerank_pb2.StreamRerankRequest,
        ) -> rerank_pb2.StreamRerankResponse:
            response = await self.Rerank(message.request, visit.call())
            return rerank_pb2.StreamRerankResponse(request_id=message.request_id, response=response)

        return answered(requests, answer, width=2, in_order=False)


async def answer_at_once(
    request: rerank_pb2.RerankRequest, call: Call
) -> rerank_pb2.RerankResponse:
    return rerank_pb2.RerankResponse(model=f"read {request.query}")


def raising(error: BaseException) -> Behaviour:
    async def behaviour(request: rerank_pb2.RerankRequest, call: Call) -> rerank_pb2.RerankResponse:
        raise error

    return behaviour


class Held:
    """A behaviour that answers when told to, and says how many calls it holds."""

    def __init__(self) -> None:
        self.inside = 0
        self.changed = asyncio.Condition()
        self.answer = asyncio.Event()

    async def __call__(
        self, request: rerank_pb2.RerankRequest, call: Call
    ) -> rerank_pb2.RerankResponse:
        await self._count(1)
        try:
            await self.answer.wait()
        finally:
            await asyncio.shield(self._count(-1))
        return rerank_pb2.RerankResponse(model="held")

    async def holds(self, calls: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.inside == calls)

    async def _count(self, change: int) -> None:
        async with self.changed:
            self.inside += change
            self.changed.notify_all()


class Around:
    """A gate around one behaviour, and a wire to it."""

    def __init__(self, gate: Gate, admission: Admission, metrics: Metrics, wire: Wire) -> None:
        self.gate = gate
        self.admission = admission
        self.metrics = metrics
        self.wire = wire


@asynccontextmanager
async def around(
    behaviour: Behaviour,
    *,
    max_calls: int = 8,
    default_deadline_s: float = 30.0,
    phase: Phase = Phase.SERVING,
    **options: Any,
) -> AsyncIterator[Around]:
    metrics = Metrics()
    admission = Admission(max_calls, metrics.calls_in_flight)
    admission.phase = phase
    gate = Gate(admission, metrics, default_deadline_s=default_deadline_s, **options)
    gate.add(DESCRIPTOR, Servicer(behaviour))
    async with serving(gate) as wire:
        yield Around(gate, admission, metrics, wire)


async def test_a_call_is_answered_and_names_its_request() -> None:
    async with around(answer_at_once) as it:
        outcome = await it.wire.call(
            RERANK,
            rerank_pb2.RerankRequest(query="q"),
            metadata=(("x-request-id", "abc-1"),),
        )

    assert rerank_pb2.RerankResponse.FromString(outcome.answer).model == "read q"
    assert outcome.trailers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "a;b", 'quote"'])
async def test_a_request_id_that_could_forge_a_log_line_is_replaced(sent: str) -> None:
    async with around(answer_at_once) as it:
        outcome = await it.wire.call(RERANK, EMPTY, metadata=(("x-request-id", sent),))

    assert outcome.ok
    assert outcome.trailers["x-request-id"] not in ("", sent)


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.DRAINING])
async def test_calls_are_unavailable_while_loading_and_draining(phase: Phase) -> None:
    async with around(answer_at_once, phase=phase) as it:
        outcome = await it.wire.call(RERANK, EMPTY)

    assert (outcome.code, outcome.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert phase.value in outcome.message


def nested(depth: int) -> bytes:
    """Return a message that holds itself in an unknown group, `depth` deep."""
    return bytes([15 << 3 | 3]) * depth + bytes([15 << 3 | 4]) * depth


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\xff",
        rerank_pb2.RerankRequest(query="cut short").SerializeToString()[:-3],
        b"\x0a\x02\xff\xfe",  # the query, not UTF-8
        nested(1_000),
        b"\x0a\xff\xff\xff\xff\x7f",  # a query of 34 GB
    ],
    ids=["junk", "truncated", "bad UTF-8", "nested", "huge length"],
)
async def test_what_is_no_message_is_malformed(content: bytes) -> None:
    async with around(answer_at_once) as it:
        outcome = await it.wire.call(RERANK, content)

    assert outcome.code is grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.reason == "MALFORMED_REQUEST"


async def test_a_call_whose_message_never_comes_gives_its_place_back() -> None:
    async with around(answer_at_once, max_calls=1, message_s=0.05) as it:
        silent = it.wire.stream(RERANK, timeout=60)
        outcome = await end_of(silent)
        await it.admission.empty()
        after = await it.wire.call(RERANK, EMPTY)

    assert outcome.reason == "DEADLINE_EXCEEDED"
    assert "no whole message" in outcome.message
    assert after.ok


async def test_a_call_without_a_message_is_malformed_and_does_not_wait() -> None:
    async with around(answer_at_once) as it:
        call = it.wire.stream(RERANK)
        await call.done_writing()
        outcome = await end_of(call)

    assert (outcome.code, outcome.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MALFORMED_REQUEST",
    )


async def test_the_surplus_is_refused_unread_and_told_when_to_come_back() -> None:
    held = Held()
    async with around(held, max_calls=2) as it:
        calls = [it.wire.start(RERANK, EMPTY) for _ in range(2)]
        await held.holds(2)
        # Had it been read, it would be malformed.
        surplus = await it.wire.call(RERANK, b"\xff\xff\xff")
        held.answer.set()
        admitted = [await outcome_of(call) for call in calls]

    assert (surplus.code, surplus.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "OVERLOADED",
    )
    assert surplus.detail("RetryInfo").retry_delay.ToMilliseconds() > 0
    assert int(surplus.trailers["grpc-retry-pushback-ms"]) > 0
    assert all(outcome.ok for outcome in admitted)


async def test_a_stream_takes_one_place_until_it_ends() -> None:
    async with around(answer_at_once, max_calls=1) as it:
        stream = it.wire.stream(STREAM)
        await stream.write(rerank_pb2.StreamRerankRequest(request_id="1").SerializeToString())
        await stream.read()
        surplus = await it.wire.call(RERANK, EMPTY)
        await stream.done_writing()
        ended = await end_of(stream)
        await it.admission.empty()
        after = await it.wire.call(RERANK, EMPTY)

    assert surplus.reason == "OVERLOADED"
    assert ended.ok
    assert after.ok


async def test_a_stream_whose_sender_pauses_too_long_gives_its_place_back() -> None:
    async with around(answer_at_once, max_calls=1, pause_s=0.05) as it:
        stream = it.wire.stream(STREAM)
        await stream.write(rerank_pb2.StreamRerankRequest(request_id="1").SerializeToString())
        answer = rerank_pb2.StreamRerankResponse.FromString(await stream.read())
        ended = await end_of(stream)
        await it.admission.empty()
        after = await it.wire.call(RERANK, EMPTY)

    assert answer.request_id == "1"
    assert (ended.code, ended.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert "no request came" in ended.message
    assert after.ok


async def test_a_stream_whose_reader_pauses_too_long_gives_its_place_back() -> None:
    async def answer_at_length(
        request: rerank_pb2.RerankRequest, call: Call
    ) -> rerank_pb2.RerankResponse:
        return rerank_pb2.RerankResponse(model="x" * 1_000_000)

    with capture_logs() as logs:
        async with around(answer_at_length, max_calls=1, pause_s=0.2, message_s=0.1) as it:
            stream = it.wire.stream(STREAM)
            sending = asyncio.create_task(send_without_end(stream))
            async with asyncio.timeout(20):
                while not logs:  # noqa: ASYNC110 - the server's gRPC sends at its own pace
                    await asyncio.sleep(0.01)
                await it.admission.empty()
            after = await it.wire.call(RERANK, EMPTY)
            stream.cancel()
            sending.cancel()

    assert after.ok
    assert [line["reason"] for line in logs] == ["DEADLINE_EXCEEDED", ""]


async def send_without_end(stream: Any) -> None:
    """Send requests for as long as the stream takes them."""
    request = rerank_pb2.StreamRerankRequest(request_id="1").SerializeToString()
    with suppress(asyncio.InvalidStateError):
        while True:
            await stream.write(request)


async def test_a_cancelled_call_stops_its_work_and_gives_its_place_back() -> None:
    held = Held()
    async with around(held, max_calls=1) as it:
        call = it.wire.start(RERANK, EMPTY)
        await held.holds(1)
        call.cancel()
        await held.holds(0)
        await it.admission.empty()
        held.answer.set()
        after = await it.wire.call(RERANK, EMPTY)

    assert after.ok


async def test_the_default_deadline_ends_a_call_that_brings_none() -> None:
    held = Held()
    async with around(held, default_deadline_s=0.05) as it:
        outcome = await it.wire.call(RERANK, EMPTY)

    assert (outcome.code, outcome.reason) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
    )
    assert held.inside == 0


async def test_the_callers_deadline_reaches_the_stages() -> None:
    seen: list[float] = []

    async def behaviour(request: rerank_pb2.RerankRequest, call: Call) -> rerank_pb2.RerankResponse:
        seen.append(call.deadline - time.monotonic())
        return rerank_pb2.RerankResponse()

    async with around(behaviour) as it:
        await it.wire.call(RERANK, EMPTY, timeout=7)
        await it.wire.call(RERANK, EMPTY)

    assert 6 < seen[0] < 7.1  # gRPC rounds deadlines to some milliseconds
    assert 29 < seen[1] <= 30


class ExpiredContext:
    """gRPC's context of a call whose deadline is over when it arrives."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.was_read = False

    def time_remaining(self) -> float:
        return 0.0

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def set_trailing_metadata(self, metadata: object) -> None: ...

    def add_done_callback(self, callback: Callable[[object], None]) -> None: ...

    async def read(self) -> bytes:
        self.was_read = True
        return b""

    async def abort(self, code: grpc.StatusCode, details: str, trailers: object) -> None:
        self.code = code
        raise grpc.aio.AbortError


class ArrivingCall:
    """What gRPC knows of a call before it has a handler."""

    method = RERANK
    invocation_metadata: tuple[tuple[str, str | bytes], ...] = ()


async def test_a_call_that_expired_on_its_way_is_refused_unread() -> None:
    metrics = Metrics()
    admission = Admission(1, metrics.calls_in_flight)
    admission.phase = Phase.SERVING
    gate = Gate(admission, metrics, default_deadline_s=30)
    gate.add(DESCRIPTOR, Servicer(answer_at_once))
    context = ExpiredContext()

    handler: Any = gate.service(ArrivingCall())
    with pytest.raises(grpc.aio.AbortError):
        await handler.stream_unary(None, context)

    assert context.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not context.was_read


@pytest.mark.parametrize(
    "bug", [KeyError(SECRET), TimeoutError(SECRET), asyncio.CancelledError(SECRET)], ids=repr
)
async def test_a_bug_answers_fixed_text_and_a_number_while_the_log_has_the_rest(
    bug: BaseException,
) -> None:
    with capture_logs() as logs:
        async with around(raising(bug)) as it:
            outcome = await it.wire.call(RERANK, EMPTY, metadata=(("x-request-id", "r-7"),))

    assert (outcome.code, outcome.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert outcome.message == "internal error; quote request id r-7"
    assert SECRET not in repr(outcome)
    [failed] = [line for line in logs if line["log_level"] == "error"]
    assert failed["request_id"] == "r-7"
    assert failed["exc_info"] is bug


def one_of_each() -> list[errors.FinesieveError]:
    return [
        errors.InvalidArgument("top_k", "is 7; allowed 1..5"),
        errors.EmptyField("query"),
        errors.TooLong("query", 9, 8),
        errors.BatchTooLarge("documents", 9, 8),
        errors.DuplicateId("passages[1].id", "is that of passages[0]"),
        errors.BadPageToken(),
        errors.MalformedRequest("is none"),
        errors.NotFound("nothing"),
        errors.CollectionNotFound("c"),
        errors.ModelNotFound("m", ["a"]),
        errors.AlreadyExists("there"),
        errors.FailedPrecondition("not now"),
        errors.ResourceExhausted("none left"),
        errors.AnswerTooLarge(9, 8),
        errors.Overloaded("busy", retry_after_s=0.25),
        errors.StorageFull("full"),
        errors.DeadlineExceeded("late"),
        errors.DeadlineTooShort(2.0, 1.0),
        errors.Unavailable("not yet"),
        errors.Unimplemented("diversity"),
        errors.DataLoss("damaged"),
        errors.ModelFailure("nan"),
        errors.Internal("r-1"),
    ]


def test_every_error_is_in_the_list_above() -> None:
    assert {type(error) for error in one_of_each()} == set(errors.STATUS)


@pytest.mark.parametrize("error", one_of_each(), ids=lambda error: type(error).__name__)
async def test_every_error_travels_by_its_row_of_the_table(error: errors.FinesieveError) -> None:
    async with around(raising(error)) as it:
        outcome = await it.wire.call(RERANK, EMPTY)

    expected = errors.status_of(error)
    assert outcome.code.value[0] == expected.code
    assert outcome.reason == expected.reason
    assert outcome.message == error.message
    assert dict(outcome.detail("ErrorInfo").metadata) == error.metadata
    assert outcome.detail("RequestInfo").request_id == outcome.trailers["x-request-id"]
    named = error.field if isinstance(error, errors.InvalidArgument) else ""
    assert outcome.fields == ([named] if named else [])


async def test_a_full_disk_says_do_not_retry() -> None:
    async with around(raising(errors.StorageFull("full"))) as it:
        outcome = await it.wire.call(RERANK, EMPTY)

    assert outcome.trailers["grpc-retry-pushback-ms"] == "-1"


@pytest.mark.parametrize("letter", ["x", "\U0001f600", "\n", "\x00"])
async def test_an_error_that_quotes_a_megabyte_still_arrives(letter: str) -> None:
    error = errors.NotFound(letter * 1_000_000, metadata={"collection": letter * 1_000_000})
    async with around(raising(error)) as it:
        outcome = await it.wire.call(RERANK, EMPTY)

    assert (outcome.code, outcome.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert outcome.message.startswith(letter)


async def test_an_answer_that_other_languages_would_refuse_is_not_sent() -> None:
    async def behaviour(request: rerank_pb2.RerankRequest, call: Call) -> rerank_pb2.RerankResponse:
        return rerank_pb2.RerankResponse(model="x" * (4 * 1024 * 1024))

    async with around(behaviour) as it:
        outcome = await it.wire.call(RERANK, EMPTY)

    assert (outcome.code, outcome.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "ANSWER_TOO_LARGE",
    )
    assert "grpc-retry-pushback-ms" not in outcome.trailers


@pytest.mark.parametrize(
    "path", ["/finesieve.v1.FeedbackService/RecordFeedback", "/a/b", "/", "nonsense"]
)
async def test_a_method_that_is_not_served_is_unimplemented(path: str) -> None:
    async with around(answer_at_once) as it:
        outcome = await it.wire.call(path, b"anything")

    assert (outcome.code, outcome.reason) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "UNIMPLEMENTED",
    )


async def test_draining_answers_who_is_inside_and_refuses_who_comes() -> None:
    held = Held()
    async with around(held) as it:
        inside = it.wire.start(RERANK, EMPTY)
        await held.holds(1)
        drained = asyncio.create_task(it.gate.drain(10))
        refused = await it.wire.call(RERANK, EMPTY)
        still_waiting = not drained.done()
        held.answer.set()
        await drained
        answered_inside = await outcome_of(inside)

    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert still_waiting
    assert answered_inside.ok


async def test_draining_answers_a_streams_requests_and_then_ends_it() -> None:
    held = Held()
    async with around(held) as it:
        stream = it.wire.stream(STREAM)
        await stream.write(rerank_pb2.StreamRerankRequest(request_id="1").SerializeToString())
        await held.holds(1)
        drained = asyncio.create_task(it.gate.drain(10))
        held.answer.set()
        answer = rerank_pb2.StreamRerankResponse.FromString(await stream.read())
        ended = await end_of(stream)
        await drained

    assert answer.request_id == "1"
    assert ended.code is grpc.StatusCode.UNAVAILABLE


async def test_an_idle_stream_does_not_hold_up_draining() -> None:
    async with around(answer_at_once) as it:
        stream = it.wire.stream(STREAM)
        await stream.write(rerank_pb2.StreamRerankRequest(request_id="1").SerializeToString())
        await stream.read()
        await it.gate.drain(10)
        ended = await end_of(stream)

    assert ended.code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("path", [RERANK, STREAM])
async def test_work_that_outlasts_the_grace_is_told_unavailable(path: str) -> None:
    held = Held()
    async with around(held) as it:
        stream = it.wire.stream(path)
        await stream.write(EMPTY.SerializeToString())
        await held.holds(1)
        await it.gate.drain(0)
        ended = await end_of(stream)

    assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert held.inside == 0


async def test_draining_lasts_until_refused_callers_stay_away() -> None:
    admission = Admission(8, Metrics().calls_in_flight)
    admission.phase = Phase.DRAINING
    quiet = asyncio.create_task(admission.quiet(0))

    for _ in range(20):
        with pytest.raises(errors.Unavailable):
            admission.enter("default")
        await asyncio.sleep(0)
    still_waiting = not quiet.done()
    await quiet

    assert still_waiting


async def test_callers_who_never_stay_away_cannot_hold_up_draining() -> None:
    async with around(answer_at_once) as it:
        drained = asyncio.create_task(it.gate.drain(10))
        await asyncio.sleep(0)
        reasons = set()
        while not drained.done():
            reasons.add((await it.wire.call(RERANK, EMPTY)).reason)
        afterwards = await it.wire.call(RERANK, EMPTY)

    assert reasons == {"UNAVAILABLE"}
    assert afterwards.reason == "UNAVAILABLE"


async def test_a_malformed_request_ends_its_stream_after_those_before_it() -> None:
    async with around(answer_at_once) as it:
        stream = it.wire.stream(STREAM)
        await stream.write(rerank_pb2.StreamRerankRequest(request_id="1").SerializeToString())
        await stream.write(b"\xff\xff\xff")
        answer = rerank_pb2.StreamRerankResponse.FromString(await stream.read())
        ended = await end_of(stream)

    assert answer.request_id == "1"
    assert ended.reason == "MALFORMED_REQUEST"


async def test_one_line_is_logged_a_call_with_lengths_for_text() -> None:
    request = rerank_pb2.RerankRequest(query=SECRET)
    with capture_logs() as logs:
        async with around(answer_at_once) as it:
            await it.wire.call(RERANK, request, metadata=(("x-request-id", "r-9"),))
            await it.wire.call(RERANK, b"\xff" + SECRET.encode())

    served, refused = logs
    assert served["rpc"] == "finesieve.v1.RerankService.Rerank"
    assert (served["status"], served["request_id"]) == ("OK", "r-9")
    assert served["request_bytes"] == request.ByteSize()
    assert (refused["status"], refused["reason"]) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert SECRET not in repr(logs)


async def test_calls_are_counted_by_status_and_refusals_by_reason() -> None:
    async with around(raising(errors.Overloaded("busy", retry_after_s=1))) as it:
        await it.wire.call(RERANK, EMPTY)
        await it.admission.empty()

    sample = it.metrics.registry.get_sample_value
    labels = {"method": "finesieve.v1.RerankService.Rerank", "status": "RESOURCE_EXHAUSTED"}
    assert sample("finesieve_calls_total", labels) == 1
    assert sample("finesieve_refusals_total", {"reason": "OVERLOADED"}) == 1
    assert sample("finesieve_calls_in_flight") == 0
