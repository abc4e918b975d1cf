import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from finesieve.v1.passages_pb2 import Collection, Passage
from finesieve.v1.retrieval_pb2 import (
    GetCollectionRequest,
    GetCollectionResponse,
    GetPassagesRequest,
    GetPassagesResponse,
    UpsertPassagesRequest,
    UpsertPassagesResponse,
)
from finesieve_client import (
    AsyncClient,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    passage,
)
from finesieve_client.batches import BATCH_BYTES, BATCH_ROWS, batches
from finesieve_client.ingestion import Outcome, store_rows
from finesieve_client.rows import BadRow, DamagedFile, Row
from tests.client.scripted_server import ScriptedServer, field_violation, refuse, retry_after

Judge = Callable[[UpsertPassagesRequest, grpc.ServicerContext], None]


class Store:
    """A server with one collection in memory; `judge` may refuse an upsert."""

    def __init__(self, judge: Judge = lambda _, __: None) -> None:
        self.passages: dict[str, Passage] = {}
        self.sent: list[list[str]] = []
        self._judge = judge
        self._lock = threading.Lock()

    def collection(
        self, request: GetCollectionRequest, context: grpc.ServicerContext
    ) -> GetCollectionResponse:
        if request.name != "docs":
            refuse(context, grpc.StatusCode.NOT_FOUND, "no collection")
        count = len(self.passages)
        return GetCollectionResponse(collection=Collection(name="docs", passage_count=count))

    def get(
        self, request: GetPassagesRequest, context: grpc.ServicerContext
    ) -> GetPassagesResponse:
        if not all(request.ids):
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "ids[0] is empty")
        found = [self.passages[each] for each in request.ids if each in self.passages]
        return GetPassagesResponse(passages=found)

    def upsert(
        self, request: UpsertPassagesRequest, context: grpc.ServicerContext
    ) -> UpsertPassagesResponse:
        with self._lock:
            self.sent.append([each.id for each in request.passages])
            self._judge(request, context)
            updated = sum(each.id in self.passages for each in request.passages)
            self.passages |= {each.id: each for each in request.passages}
            inserted = len(request.passages) - updated
            return UpsertPassagesResponse(inserted=inserted, updated=updated)

    async def take(self, rows: Iterable[Row | BadRow], collection: str = "docs") -> Outcome:
        """Return what becomes of these rows."""
        self.stalls: list[str] = []
        answers: dict[str, Any] = {
            "GetCollection": self.collection,
            "GetPassages": self.get,
            "UpsertPassages": self.upsert,
        }
        total = Outcome()
        with ScriptedServer(answers) as server:
            async with AsyncClient(server.target) as client:
                taken = store_rows(
                    client, collection, rows, stalled=lambda error: self.stalls.append(str(error))
                )
                async for outcome in taken:
                    total += outcome
        return total


def rows(*ids: str, text: str = "text") -> list[Row]:
    return [Row(line, passage(each, text)) for line, each in enumerate(ids, start=1)]


def numbered(count: int) -> list[Row]:
    return rows(*(f"p{number}" for number in range(count)))


def test_a_batch_is_full_by_count_or_by_bytes() -> None:
    small = numbered(BATCH_ROWS * 2 + 1)
    large = rows("a", "b", "c", text="x" * (BATCH_BYTES // 2))

    assert [len(batch) for batch in batches(small)] == [BATCH_ROWS, BATCH_ROWS, 1]
    assert [len(batch) for batch in batches(large)] == [1, 1, 1]
    assert [row for batch in batches(small) for row in batch] == small


def test_a_pause_ends_a_batch() -> None:
    one, two, three = numbered(3)

    assert list(batches([None, one, two, None, three])) == [[], [one, two], [three]]


async def test_what_came_is_stored_while_the_producer_pauses() -> None:
    stored = threading.Event()
    first, last = numbered(2)

    def producer() -> Iterator[Row]:
        yield first
        assert stored.wait(20), "nothing was stored before the producer went on"
        yield last

    outcome = await Store(lambda _, __: stored.set()).take(producer())

    assert outcome == Outcome(inserted=2)


async def test_what_came_before_the_producer_failed_is_stored() -> None:
    def producer() -> Iterator[Row]:
        yield from numbered(BATCH_ROWS + 1)
        raise DamagedFile("is damaged")

    store = Store()

    with pytest.raises(DamagedFile, match="is damaged"):
        await store.take(producer())

    assert len(store.passages) == BATCH_ROWS + 1


async def test_all_rows_are_stored_and_counted() -> None:
    store = Store()

    outcome = await store.take(numbered(300))

    assert outcome == Outcome(inserted=300)
    assert set(store.passages) == {f"p{number}" for number in range(300)}


async def test_a_second_run_sends_nothing_again() -> None:
    store = Store()
    await store.take(numbered(200))
    store.sent.clear()

    outcome = await store.take(numbered(200))

    assert outcome == Outcome(unchanged=200)
    assert store.sent == []


async def test_after_an_interruption_only_the_rest_is_sent() -> None:
    store = Store()
    await store.take(numbered(130)[:70])
    store.sent.clear()

    outcome = await store.take(numbered(130))

    assert outcome == Outcome(inserted=60, unchanged=70)
    assert {each for batch in store.sent for each in batch} == {f"p{n}" for n in range(70, 130)}


async def test_a_row_that_was_edited_is_sent_again() -> None:
    store = Store()
    await store.take(numbered(10))
    edited = numbered(10)
    edited[3] = Row(4, passage("p3", "text", metadata={"year": 2020}))

    outcome = await store.take(edited)

    assert outcome == Outcome(updated=1, unchanged=9)
    assert store.passages["p3"].metadata["year"] == 2020


async def test_an_embedding_that_was_changed_is_sent_again() -> None:
    store = Store()
    await store.take([Row(1, passage("a", "x", embedding=[1, 0])), Row(2, passage("b", "x"))])

    same = await store.take([Row(1, passage("a", "x", embedding=[1, 0])), *rows("b", text="x")])
    changed = await store.take([Row(1, passage("a", "x", embedding=[0, 1]))])

    assert same == Outcome(unchanged=2)
    assert changed == Outcome(updated=1)


async def test_a_row_that_the_server_refuses_is_named_and_the_others_are_stored() -> None:
    def no_long_ones(request: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        for position, each in enumerate(request.passages):
            if each.id in ("p3", "p7"):
                violation = field_violation(f"passages[{position}].text", "has 9 characters")
                refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "too long", violation)

    store = Store(no_long_ones)

    outcome = await store.take(numbered(10))

    assert outcome.inserted == 8
    assert sorted(outcome.bad, key=lambda row: row.line) == [
        BadRow(4, "text has 9 characters"),
        BadRow(8, "text has 9 characters"),
    ]
    assert set(store.passages) == {f"p{n}" for n in range(10)} - {"p3", "p7"}


async def test_a_row_that_is_refused_alone_is_not_called_by_its_place_in_the_request() -> None:
    def too_long(_: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        violation = field_violation("passages[0].text", "has 9 characters")
        message = "passages[0].text has 9 characters"
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, message, violation)

    outcome = await Store(too_long).take(numbered(1))

    assert outcome == Outcome(bad=[BadRow(1, "text has 9 characters")])


async def test_a_refusal_that_names_no_row_is_narrowed_down_to_it() -> None:
    def no_p5(request: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        if any(each.id == "p5" for each in request.passages):
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "something is wrong")

    outcome = await Store(no_p5).take(numbered(10))

    assert outcome == Outcome(inserted=9, bad=[BadRow(6, "something is wrong")])


async def test_bad_rows_of_the_file_come_through_with_the_stored_ones() -> None:
    outcome = await Store().take([*numbered(2), BadRow(3, "has no id")])

    assert outcome == Outcome(inserted=2, bad=[BadRow(3, "has no id")])
    assert outcome.rows == 3


async def test_an_id_that_cannot_be_is_refused_by_the_write_and_not_by_the_question() -> None:
    def no_empty_id(request: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        for position, each in enumerate(request.passages):
            if not each.id:
                violation = field_violation(f"passages[{position}].id", "is empty")
                refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "is empty", violation)

    store = Store(no_empty_id)
    await store.take(numbered(1))

    outcome = await store.take(rows("p0", "", "p2"))

    assert outcome == Outcome(inserted=1, updated=1, bad=[BadRow(2, "id is empty")])


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    refusals = iter(range(6))  # more than the four tries of the channel itself

    def busy(_: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        if next(refusals, None) is not None:
            pushback = [("grpc-retry-pushback-ms", "1")]
            delay = retry_after(0.001)
            refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", delay, metadata=pushback)

    store = Store(busy)

    outcome = await store.take(numbered(3))

    assert outcome == Outcome(inserted=3)
    assert len(store.sent) == 7


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED], ids=lambda code: code.name
)
async def test_a_server_that_restarts_in_the_middle_is_waited_for(code: grpc.StatusCode) -> None:
    refusals = iter(range(5))  # more than the four tries of the channel itself

    def restarting(_: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        if next(refusals, None) is not None:
            pushback = [("grpc-retry-pushback-ms", "1")]
            refuse(context, code, "stopping", retry_after(0.001), metadata=pushback)

    store = Store(restarting)

    assert await store.take(numbered(3)) == Outcome(inserted=3)
    assert store.stalls == [f"{code.name}: stopping"]


async def test_a_full_disk_ends_the_run_with_what_the_server_said() -> None:
    def full(_: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        info = error_details_pb2.ErrorInfo(reason="STORAGE_FULL")
        never = [("grpc-retry-pushback-ms", "-1")]
        refuse(
            context, grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk is full", info, metadata=never
        )

    store = Store(full)

    with pytest.raises(ResourceExhausted, match="the disk is full"):
        await store.take(numbered(3))

    assert len(store.sent) == 1


async def test_a_batch_that_takes_too_long_is_sent_in_halves() -> None:
    def at_most_two(request: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        if len(request.passages) > 2:
            refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "too much")

    store = Store(at_most_two)

    outcome = await store.take(numbered(8))

    assert outcome == Outcome(inserted=8)
    assert [len(sent) for sent in store.sent] == [8, 4, 2, 2, 4, 2, 2]


async def test_a_model_that_does_not_match_ends_the_run() -> None:
    def mismatch(_: UpsertPassagesRequest, context: grpc.ServicerContext) -> None:
        refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "another model")

    with pytest.raises(FailedPrecondition, match="another model"):
        await Store(mismatch).take(numbered(3))


async def test_a_collection_that_is_not_there_ends_the_run() -> None:
    with pytest.raises(NotFound):
        await Store().take(numbered(3), collection="other")
