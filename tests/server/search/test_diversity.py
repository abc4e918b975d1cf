"""Maximal marginal relevance, against its definition."""

import numpy as np
import pytest
from numpy.typing import NDArray

from finesieve_server.index.records import Found, Passage
from finesieve_server.search.diversity import choose, diversify
from finesieve_server.search.hits import Retrieved, SearchHit
from finesieve_server.search.ranking import Ranked, Score, ScoreStatus


def by_definition(
    relevance: NDArray[np.float64], vectors: NDArray[np.float64], weight: float, count: int
) -> list[int]:
    """Carbonell & Goldstein 1998, word for word, with both terms from 0 to 1; the first is best."""
    scaled = (relevance - relevance.min()) / np.ptp(relevance)

    def cosine(a: int, b: int) -> float:
        return float(
            vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])
        )

    least = min(cosine(0, other) for other in range(len(relevance)))

    def similarity(a: int, b: int) -> float:
        return (cosine(a, b) - least) / (1 - least)

    chosen: list[int] = []
    while len(chosen) < count:
        left = [index for index in range(len(relevance)) if index not in chosen]
        chosen.append(
            max(
                left,
                key=lambda index: (
                    weight * scaled[index]
                    - (1 - weight) * max((similarity(index, other) for other in chosen), default=0)
                ),
            )
        )
    return chosen


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_each_choice_is_what_the_definition_says(weight: float) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        relevance = np.sort(random.standard_normal(30))[::-1]
        vectors = random.standard_normal((30, 16)) * random.uniform(0.1, 9, (30, 1))
        hits = [
            hit(f"h{at}", score, vectors[at].astype(np.float32))
            for at, score in enumerate(relevance.tolist())
        ]

        chosen = diversify(hits, weight, 12)

        expected = by_definition(relevance, vectors, weight, 12)
        assert [each.retrieved.passage.id for each in chosen] == [f"h{at}" for at in expected]


def hit(
    id: str,
    ordering: float | None,
    vector: NDArray[np.float32] | None,
    *children: NDArray[np.float32],
) -> SearchHit:
    score = None if ordering is None else Score(9.0, 0.5, ordering)
    status = ScoreStatus.SCORED if score else ScoreStatus.DEADLINE
    passage = Passage(id, embedding=vector)
    found = [
        (at, Found(Passage(f"{id}/{at}", embedding=each), 1)) for at, each in enumerate(children)
    ]
    return SearchHit(
        Retrieved(passage, found or [(1, Found(passage, 1))]), Ranked(0, status, score)
    )


def unit(degrees: float) -> NDArray[np.float32]:
    angle = np.radians(degrees)
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def ids(hits: list[SearchHit]) -> list[str]:
    return [each.retrieved.passage.id for each in hits]


def test_a_near_double_makes_way_for_something_new() -> None:
    hits = [hit("a", 3, unit(0)), hit("double", 2.9, unit(1)), hit("new", 2, unit(80))]
    hits.append(hit("last", 0, unit(40)))

    assert ids(diversify(hits, 0.5, 2)) == ["a", "new"]
    assert ids(diversify(hits, 1.0, 4)) == ["a", "double", "new", "last"]
    assert ids(diversify(hits, 0.0, 2)) == ["a", "new"], "the first is the best in any case"


def test_the_scale_of_the_scores_does_not_matter() -> None:
    random = np.random.default_rng(1)
    scores = np.sort(random.standard_normal(20))[::-1]
    vectors = random.standard_normal((20, 8)).astype(np.float32)

    orders = [
        ids(
            diversify(
                [hit(str(at), s * scale + shift, vectors[at]) for at, s in enumerate(scores)],
                0.5,
                20,
            )
        )
        for scale, shift in [(1, 0), (12.5, -4), (1e-3, 1)]
    ]

    assert orders[0] == orders[1] == orders[2]


def test_embeddings_that_are_all_alike_count_by_their_differences() -> None:
    """As those of some models do, whose cosines all lie between 0.7 and 1."""
    apart = [np.array([x, y, 4], np.float32) for x, y in [(1, 0), (1, 0.05), (0, 1)]]
    hits = [hit("a", 3, apart[0]), hit("double", 2.9, apart[1]), hit("new", 2.5, apart[2])]
    hits.append(hit("last", 0, apart[0]))

    assert ids(diversify(hits, 0.5, 2)) == ["a", "new"]


def test_equal_scores_differ_by_novelty_alone() -> None:
    hits = [hit("a", 1, unit(0)), hit("b", 1, unit(10)), hit("c", 1, unit(90))]

    assert ids(diversify(hits, 0.9, 3)) == ["a", "c", "b"]


def test_unscored_hits_stay_last_as_they_stood() -> None:
    hits = [
        hit("a", 3, unit(0)),
        hit("double", 2, unit(0)),
        hit("new", 1, unit(90)),
        hit("late", None, unit(45)),
        hit("later", None, unit(45)),
    ]

    assert ids(diversify(hits, 0.4, 4)) == ["a", "new", "double", "late"]
    assert ids(diversify(hits[3:], 0.5, 1)) == ["late"]
    assert diversify([], 0.5, 3) == []


def test_a_merged_parent_stands_for_the_mean_of_its_children() -> None:
    parent = hit("parent", 2, None, unit(0), 100 * unit(90))
    middle, edge = hit("middle", 1.5, unit(45)), hit("edge", 1.5, unit(0))
    least = hit("least", 0, unit(45))

    assert ids(diversify([parent, middle, edge, least], 0.5, 2)) == ["parent", "edge"]


@pytest.mark.parametrize("hostile", [0.0, 3e38, np.inf])
def test_hostile_numbers_give_an_order_all_the_same(hostile: float) -> None:
    huge = np.full(2, 3e38, np.float32)
    hits = [
        hit("a", hostile, huge),
        hit("b", 1, np.zeros(2, np.float32)),
        hit("c", -hostile, np.array([1e-45, 0], np.float32)),
    ]

    with np.errstate(all="raise", under="ignore"):
        assert sorted(ids(diversify(hits, 0.5, 10))) == ["a", "b", "c"]


def test_no_more_are_chosen_than_asked_for_or_than_there_are() -> None:
    directions = np.eye(4, dtype=np.float32)
    relevance = np.arange(4.0)

    assert choose(relevance, directions, 0.5, 2) == [3, 2]
    assert choose(relevance, directions, 0.5, 9) == [3, 2, 1, 0]
