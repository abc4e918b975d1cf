from typing import Any

from finesieve.v1.results_pb2 import Hit, Score
from finesieve.v1.search_pb2 import SearchHit, SearchResponse
from finesieve_client import RankChange, compare, passage
from finesieve_client.comparison import moved


class Searcher:
    """Answers with candidates a to e, reranked to e, a, b, c, d."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def search(self, collection: str, query: str, **options: Any) -> SearchResponse:
        self.asked = {"collection": collection, "query": query, **options}
        return SearchResponse(
            hits=[
                SearchHit(
                    hit=Hit(
                        passage=passage(name, "text"),
                        rank=rank,
                        retrieval_rank="abcde".index(name) + 1,
                        score=Score(probability=0.5),
                    )
                )
                for rank, name in enumerate("eabcd", start=1)
            ]
        )


def test_both_orders_are_cut_at_top_n_and_all_candidates_are_kept() -> None:
    comparison = compare(Searcher(), "docs", "query", top_n=3)

    assert [hit.passage.id for hit in comparison.first_stage] == ["a", "b", "c"]
    assert [hit.passage.id for hit in comparison.second_stage] == ["e", "a", "b"]
    assert [hit.passage.id for hit in comparison.hits] == ["e", "a", "b", "c", "d"]


def test_a_move_is_places_upwards() -> None:
    comparison = compare(Searcher(), "docs", "query", top_n=3)

    assert [moved(hit) for hit in comparison.hits] == [4, -1, -1, -1, -1]


def test_a_hit_is_new_where_the_first_stage_alone_would_not_show_it() -> None:
    comparison = compare(Searcher(), "docs", "query", top_n=3)

    assert [comparison.is_new(hit) for hit in comparison.second_stage] == [True, False, False]
    assert comparison.num_new == 1


def test_all_candidates_are_asked_for_in_one_search() -> None:
    searcher = Searcher()

    compare(searcher, "docs", "query", retrieve_k=40, top_n=3, model="m")

    assert searcher.asked["retrieve_k"] == searcher.asked["top_n"] == 40
    assert searcher.asked["model"] == "m"


def test_the_changes_of_all_candidates_are_records_in_the_new_order() -> None:
    comparison = compare(Searcher(), "docs", "query", top_n=3)

    assert [(each.passage_id, each.from_rank, each.to_rank) for each in comparison.changes] == [
        ("e", 5, 1),
        ("a", 1, 2),
        ("b", 2, 3),
        ("c", 3, 4),
        ("d", 4, 5),
    ]
    assert [each.moved for each in comparison.changes] == [4, -1, -1, -1, -1]
    assert comparison.changes[0] == RankChange("e", "", 5, 1, 0.0, 0.5, 0.0)


def test_a_candidate_that_was_not_scored_has_no_scores_of_the_second_stage() -> None:
    class Unscored(Searcher):
        def search(self, collection: str, query: str, **options: Any) -> SearchResponse:
            return SearchResponse(hits=[SearchHit(hit=Hit(rank=1, retrieval_rank=1))])

    (change,) = compare(Unscored(), "docs", "query").changes

    assert (change.probability, change.ordering) == (None, None)
