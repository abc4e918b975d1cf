"""Windows, auto-merging, diversity and replaced documents, of a real server by its real clients."""

from collections.abc import Iterator, Sequence

import pytest
from typer.testing import CliRunner

from demo.server_process import ServerProcess
from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.search_pb2 import SearchHit
from finesieve_client import (
    AsyncClient,
    Client,
    InvalidArgument,
    ResourceExhausted,
    field,
    passage,
)
from finesieve_client.cli import app

ASCENTS = {
    "Mount Karvel": ("two sisters from Lund", "eleven days"),
    "Pico Terno": ("a priest and his mule driver", "forty hours"),
    "the Ostrag": ("a surveyor called Brandt", "three weeks"),
    "Cerro Villin": ("six students of geology", "one night"),
    "the Hohe Sandel": ("an army patrol that had lost its way", "nine days"),
    "Mount Iribi": ("nobody whose name is known", "half a summer"),
}


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def ascents(client: Client) -> str:
    """Make a collection of six documents of five sentences, in two sections under their chapter.

    The sentence that says how long it took does not name the mountain.
    """
    client.create_collection("ascents")
    for mountain in ASCENTS:
        client.upsert_passages("ascents", document_of(mountain), replace_documents=True)
    return "ascents"


def document_of(mountain: str) -> list[Passage]:
    climbers, time = ASCENTS[mountain]
    sections = [
        [
            f"The first ascent of {mountain} was made by {climbers}.",
            f"From the last village to the top and back it took them {time}.",
            "They left a tin with their names under a cairn.",
        ],
        [
            f"{mountain} is built of grey limestone on a base of slate.",
            "The north face is steep, and falls into a lake without an outlet.",
        ],
    ]
    leaves, parents = [], []
    for at, sentences in enumerate(sections):
        section = f"{mountain}/section{at}"
        parents.append(
            passage(
                section,
                " ".join(sentences),
                document_id=mountain,
                ordinal=at,
                parent_id=f"{mountain}/chapter",
                context_only=True,
            )
        )
        leaves += [(section, sentence) for sentence in sentences]
    chapter = " ".join(sentence for _, sentence in leaves)
    return [
        *(
            passage(
                f"{mountain}/{at}",
                sentence,
                document_id=mountain,
                ordinal=at,
                parent_id=section,
                metadata={"section": section[-1]},
            )
            for at, (section, sentence) in enumerate(leaves)
        ),
        *parents,
        passage(f"{mountain}/chapter", chapter, document_id=mountain, context_only=True),
    ]


def ids(passages: Sequence[Passage]) -> list[str]:
    return [each.id for each in passages]


def hit_ids(hits: Sequence[SearchHit]) -> list[str]:
    return [each.hit.passage.id for each in hits]


def text_of(hit: SearchHit) -> str:
    return " ".join(each.text for each in [*hit.before, hit.hit.passage, *hit.after])


def test_a_window_brings_the_sentence_that_answers(client: Client, ascents: str) -> None:
    answered = dict.fromkeys((0, 1), 0)
    for mountain, (_, time) in ASCENTS.items():
        question = f"How long did the first ascent of {mountain} take?"
        for window in answered:
            [hit] = client.search(ascents, question, top_n=1, window=window).hits
            answered[window] += time in text_of(hit)

    assert answered == {0: 0, 1: len(ASCENTS)}


def test_a_window_is_of_leaves_alone_and_ends_with_the_document(
    client: Client, ascents: str
) -> None:
    question = "Who made the first ascent of Pico Terno?"

    [hit] = client.search(ascents, question, top_n=1, window=100).hits
    [bare] = client.search(ascents, question, top_n=1, window=100, view="id").hits

    assert hit.hit.passage.id == "Pico Terno/0"
    assert ids(hit.before) == []
    assert ids(hit.after) == [f"Pico Terno/{n}" for n in range(1, 5)]
    assert list(bare.after) == [Passage(id=f"Pico Terno/{n}") for n in range(1, 5)]


def test_merging_brings_the_section_that_answers_and_reranks_it(
    client: Client, ascents: str
) -> None:
    question = "Who made the first ascent of the Ostrag, and how long did it take?"
    document = field("section") == "0"

    answer = client.search(
        ascents, question, retrieve_k=18, filter=document, merge_share=1.0, window=1
    )

    best = answer.hits[0]
    assert best.hit.passage.id == "the Ostrag/section0"
    assert "three weeks" in best.hit.passage.text
    assert "Brandt" in best.hit.passage.text
    assert best.hit.passage.context_only
    assert sorted(best.merged_ids) == [f"the Ostrag/{n}" for n in range(3)]
    assert best.hit.score.probability > 0
    assert ids(best.before) == []
    assert ids(best.after) == ["the Ostrag/section1"]
    assert len(answer.hits) == answer.usage.pairs == 6, "a pair for each parent, none for leaves"


def test_a_merged_parent_has_the_rank_and_score_of_its_best_child(
    client: Client, ascents: str
) -> None:
    question = "Who made the first ascent of the Ostrag?"

    leaves = client.search(ascents, question, retrieve_k=5, top_n=5, skip_rerank=True).hits
    merged = client.search(
        ascents, question, retrieve_k=5, top_n=5, skip_rerank=True, merge_share=0.3
    ).hits

    assert leaves[0].hit.passage.id == "the Ostrag/0"
    best = merged[0]
    assert best.hit.passage.id in ("the Ostrag/section0", "the Ostrag/chapter")
    assert best.merged_ids[0] == "the Ostrag/0"
    assert best.hit.retrieval_rank == 1
    assert best.hit.retrieval_score == leaves[0].hit.retrieval_score
    found = {each.hit.passage.id for each in leaves}
    told = [id_ for hit in merged for id_ in (hit.merged_ids or [hit.hit.passage.id])]
    assert sorted(told) == sorted(found)


def test_merging_climbs_to_the_chapter_which_stands_alone(client: Client, ascents: str) -> None:
    everything = client.search(
        ascents, "a climb", retrieve_k=100, top_n=100, merge_share=1.0, window=2
    )

    assert sorted(hit_ids(everything.hits)) == sorted(f"{each}/chapter" for each in ASCENTS)
    assert all(len(hit.merged_ids) == 5 for hit in everything.hits)
    assert not any([*hit.before, *hit.after] for hit in everything.hits)
    nothing = client.search(ascents, "a climb", filter=field("section") == "9", window=2)
    assert not nothing.hits


def test_parents_in_circles_and_parents_that_are_not_there_are_harmless(client: Client) -> None:
    client.create_collection("circles")
    client.upsert_passages(
        "circles",
        [
            passage("a", "A lighthouse on a cliff.", parent_id="b", document_id="d"),
            passage("b", "A lighthouse on a rock.", parent_id="a", document_id="d"),
            passage("self", "A lighthouse in a harbour.", parent_id="self", document_id="d"),
            passage("orphan", "A lighthouse ship.", parent_id="gone", document_id="d"),
            passage("down", "A beacon.", parent_id="up", document_id="d"),
            passage("up", "Beacons.", parent_id="top", context_only=True),
            passage("top", "Lights.", parent_id="up", context_only=True),
        ],
    )

    for share in (0.1, 0.5, 1.0):
        hits = client.search("circles", "lighthouse", merge_share=share, window=3).hits
        found = [id_ for hit in hits for id_ in [*hit.merged_ids, hit.hit.passage.id]]
        assert len(found) == len(set(found))
        assert {"a", "b", "self", "orphan", "down"} <= set(found)


def test_diversity_makes_room_for_something_else(client: Client) -> None:
    client.create_collection("offers")
    alike = [
        f"You can cancel the subscription within {n} days of the purchase and get your money back."
        for n in (13, 14, 15, 16, 17)
    ]
    others = [
        "Refunds for a broken device are decided by the repair shop.",
        "A gift card cannot be turned into money again.",
        "The weather in the mountains changes quickly.",
    ]
    client.upsert_passages(
        "offers", [passage(f"p{at}", text) for at, text in enumerate([*alike, *others])]
    )
    question = "How do I get my money back?"

    for rerank in (True, False):
        plain = client.search("offers", question, top_n=3, skip_rerank=not rerank).hits
        same = client.search(
            "offers", question, top_n=3, diversity=0.0, skip_rerank=not rerank
        ).hits
        diverse = client.search(
            "offers", question, top_n=3, diversity=0.6, skip_rerank=not rerank
        ).hits

        assert hit_ids(same) == hit_ids(plain)
        assert set(hit_ids(plain)) <= {f"p{n}" for n in range(5)}
        assert diverse[0].hit.passage.id == plain[0].hit.passage.id
        assert len({f"p{n}" for n in range(5)} & set(hit_ids(diverse))) == 1
        assert [hit.hit.rank for hit in diverse] == [1, 2, 3]
        assert not diverse[0].hit.passage.HasField("embedding"), "read, but not asked for"


def test_the_command_shows_a_hit_among_its_neighbours(
    server: ServerProcess, client: Client, ascents: str
) -> None:
    def shown(*options: str) -> str:
        arguments = ["search", "Who made the first ascent of the Ostrag?", "-c", ascents, "-n", "1"]
        environment = {"FINESIEVE_SERVER": server.address, "COLUMNS": "400"}
        result = CliRunner().invoke(app, [*arguments, *options], env=environment)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    assert "made by a surveyor called Brandt. From the last village" in shown("--window", "1")
    assert "the Ostrag/chapter" in shown("--merge-share", "0.5", "--retrieve-k", "30")
    assert "in place of 5 found in it" in shown("--merge-share", "0.5", "--diversity", "0.2")


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"window": 101}, "context.window"),
        ({"window": 10**9}, "context.window"),
        ({"merge_share": float("nan")}, "context.merge_share"),
        ({"merge_share": -1.0}, "context.merge_share"),
        ({"merge_share": 2.0}, "context.merge_share"),
        ({"diversity": float("nan")}, "diversity.relevance_weight"),
        ({"diversity": 1.5}, "diversity.relevance_weight"),
        ({"diversity": -0.5}, "diversity.relevance_weight"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(
    client: Client, ascents: str, fields: dict[str, float], at_fault: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        client.search(ascents, "a climb", **fields)  # type: ignore[arg-type]

    assert [each.field for each in refused.value.violations] == [at_fault]


def test_windows_that_fill_no_answer_are_refused_and_ids_are_not(client: Client) -> None:
    client.create_collection("long")
    for start in range(0, 150, 50):
        long = [
            passage(f"p{n:03}", "x" * 60_000, document_id="d", ordinal=n, context_only=True)
            for n in range(start, start + 50)
        ]
        client.upsert_passages("long", long)
    client.upsert_passages("long", [passage("leaf", "A short text.", parent_id="p000")])

    with pytest.raises(ResourceExhausted):
        client.search("long", "short", merge_share=1.0, window=100)
    [hit] = client.search("long", "short", merge_share=1.0, window=100, view="id").hits

    assert hit.hit.passage.id == "p000"
    assert ids(hit.after) == [f"p{n:03}" for n in range(1, 101)]


async def test_documents_are_replaced_by_either_client_and_in_streams(
    client: Client, server: ServerProcess
) -> None:
    def document(count: int) -> list[Passage]:
        return [
            passage(f"d/{n}", f"Sentence number {n}.", document_id="d", ordinal=n)
            for n in range(count)
        ]

    client.create_collection("replaced")
    client.upsert_passages("replaced", document(9))
    async with AsyncClient(server.address) as async_client:
        first = await async_client.upsert_passages("replaced", document(5), replace_documents=True)
        stream = async_client.stream_upsert_passages(
            "replaced", [document(4), document(2)], replace_documents=True
        )
        answers = [answer async for answer in stream]
    last = client.upsert_passages("replaced", document(1), replace_documents=True)

    assert (first.inserted, first.updated, first.removed) == (0, 5, 4)
    assert [(each.updated, each.removed) for each in answers] == [(4, 1), (2, 2)]
    assert (last.updated, last.removed) == (1, 1)
    assert ids(list(client.all_passages("replaced"))) == ["d/0"]
    with pytest.raises(InvalidArgument) as refused:
        client.upsert_passages("replaced", [passage("x", "x")], replace_documents=True)
    assert [each.field for each in refused.value.violations] == ["passages[0].document_id"]
