"""What was found by id is read afterwards, as it is then, and never more than an answer holds."""

import pytest

from finesieve_server.errors import AnswerTooLarge
from finesieve_server.index.records import Found, Passage, View
from tests.server.index.contract.engines import Collection
from tests.server.index.corpus import embeddings


def found(*ids: str) -> list[Found]:
    return [Found(Passage(id_), score) for score, id_ in enumerate(ids)]


async def test_every_ranking_keeps_its_order_and_scores_and_loses_what_is_gone(
    collection: Collection,
) -> None:
    passages = [Passage(id_, text=f"text of {id_}", metadata={"is": id_}) for id_ in "abc"]
    await collection.upsert(passages, list(embeddings(3)))

    first, second = await collection.read([found("c", "gone", "a"), found("a")], View.FULL)

    a, _, c = passages
    assert first == [Found(c, 0), Found(a, 2)]
    assert second == [Found(a, 0)]
    assert await collection.read([[], []], View.FULL) == [[], []]


async def test_more_than_an_answer_holds_is_refused(collection: Collection) -> None:
    await collection.upsert([Passage("a", text="x" * 1000)], list(embeddings(1)))
    twice = [found("a"), found("a")]

    assert len(await collection.read(twice, View.FULL, max_bytes=2500)) == 2
    assert len(await collection.read(twice, View.ID, max_bytes=500)) == 2
    with pytest.raises(AnswerTooLarge):
        await collection.read(twice, View.FULL, max_bytes=1500)
