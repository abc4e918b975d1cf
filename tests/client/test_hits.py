from io import StringIO

import pytest
from rich.console import Console

from finesieve.v1.results_pb2 import Failure, Hit, RerankUsage, Score, StageTimings
from finesieve.v1.search_pb2 import SearchHit
from finesieve_client import Comparison, passage
from finesieve_client.cli.compare import draw
from finesieve_client.cli.search import body, headline

LONG_TITLE = "multiprocessing.managers.BarrierProxy.wait(timeout=None)"


def hit(rank: int, retrieval_rank: int) -> Hit:
    return Hit(
        passage=passage(f"p{rank}", "Wait for the barrier. " * 20, title=f"{rank} {LONG_TITLE}"),
        rank=rank,
        retrieval_rank=retrieval_rank,
        retrieval_score=0.5,
        score=Score(probability=0.875),
    )


def drawn(width: int) -> str:
    hits = tuple(hit(rank, 51 - rank) for rank in range(1, 51))
    comparison = Comparison(
        collection="stdlib-0123abcd",
        query="wait until several threads have all arrived",
        hits=hits,
        top_n=10,
        timings=StageTimings(
            embed_us=9_290, retrieve_us=4_040, rerank_us=774_000, total_us=800_000
        ),
        usage=RerankUsage(tokens=13_467),
        round_trip_us=1,
        partial=False,
    )
    console = Console(file=StringIO(), width=width, record=True)
    console.print(draw(comparison))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 160])
def test_a_comparison_has_two_lines_a_place_and_wraps_nothing(width: int) -> None:
    lines = drawn(width).splitlines()

    head, columns, *rows, _, summary, bar, legend = lines
    assert len(rows) == 20
    assert all(row[rows[0].index("│")] == "│" for row in [columns, *rows])
    assert "in stdlib-0123abcd" in head
    assert "10 new among the best 10" in summary
    assert "tokens reranked" in bar
    assert "other" in legend


def test_at_eighty_columns_half_a_line_is_a_title_and_every_number_is_whole() -> None:
    first, second = drawn(80).splitlines()[2:4]

    assert first.count(" multiprocessing.managers.Barrie") == 2
    assert "0.500 → 50" in second
    assert "0.875 new ▲49" in second


def test_the_number_beside_a_hit_is_named_and_its_title_stands_out() -> None:
    reranked, alone = headline(hit(1, 3), reranked=True), headline(hit(1, 1), reranked=False)

    assert reranked.plain.endswith("p1  probability 0.875  ▲2")
    assert alone.plain.endswith("p1  score 0.500")
    assert not reranked.style
    assert any(span.style == "bold" for span in reranked.spans)


def test_a_hit_stands_out_from_its_window() -> None:
    found = SearchHit(
        hit=Hit(passage=passage("b", "The hit.\n")),
        before=[passage("a", "Before \x1b[31m it.")],
        after=[passage("c", "After it."), passage("d", "x" * 1000)],
    )

    shown = body(found)

    assert shown.plain == f"Before [31m it. The hit. After it. {'x' * 300}"
    dim = ["".join(shown.plain[span.start : span.end]) for span in shown.spans]
    assert dim == ["Before [31m it.", "After it.", "x" * 300]
    assert body(SearchHit(hit=found.hit)).style == "dim"


def test_a_hit_without_a_probability_shows_no_other_number_for_it() -> None:
    failed, late = hit(1, 1), hit(2, 2)
    failed.ClearField("score")
    failed.failure.CopyFrom(Failure(message="is too long"))
    late.ClearField("score")

    assert "not scored: is too long" in headline(failed, reranked=True).plain
    assert "not scored" in headline(late, reranked=True).plain
