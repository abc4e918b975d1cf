import numpy as np
import pytest

from benchmarks.bare import BareRound, packed
from benchmarks.load import Load
from benchmarks.rerank_report import INFINITY_TORCH, RANK_TORCH, figures
from benchmarks.rerank_results import Results, rank_correlation
from finesieve_server.runtime.tokenizer import Framed


def bare(pairs_per_s: float) -> BareRound:
    return BareRound(
        pairs=100, tokens=8_000, shortest=20, longest=300, seconds=100 / pairs_per_s, cpu_share=1.0
    )


def load(pairs_per_s: float) -> Load:
    return Load(
        pairs=100,
        seconds=100 / pairs_per_s,
        latencies_s=[1.0],
        cpu_share=1.0,
        client_cpu_share=0.0,
    )


def results() -> Results:
    return Results(
        bare=[bare(400), bare(100), bare(400)],
        closed={
            "finesieve": [load(380), load(95), load(380)],
            INFINITY_TORCH: [load(190), load(19), load(190)],
        },
        bare_alone_s=[0.010],
        alone_s={"finesieve": [0.012]},
        padding_share=0.05,
    )


def test_a_ratio_compares_within_rounds_so_that_a_slow_round_slows_both() -> None:
    measured = results()

    ratios = measured.ratios("finesieve")

    assert ratios == pytest.approx([0.95, 0.95, 0.95])


def test_a_figure_says_whether_its_goal_is_kept() -> None:
    by_name = {figure.what: figure for figure in figures(results())}

    against = by_name[f"speed over {INFINITY_TORCH}"]
    padding = by_name["padding share of positions"]

    assert (against.measured, against.verdict) == (2.0, "short")
    assert against.spread == pytest.approx((2.0, 5.0))
    assert (padding.measured, padding.verdict) == (0.05, "short")
    assert by_name["speed over the bare loop's"].verdict == "ok"


def test_a_figure_against_an_engine_that_is_missing_is_not_measured() -> None:
    by_name = {figure.what: figure for figure in figures(results())}

    assert by_name[f"speed over {RANK_TORCH}"].verdict == "not measured"


def test_an_engine_that_failed_is_left_out_of_every_figure_with_its_reason() -> None:
    measured = results()

    measured.leave_out(INFINITY_TORCH, "answered 500")

    by_name = {figure.what: figure for figure in figures(measured)}
    assert by_name[f"speed over {INFINITY_TORCH}"].verdict == "not measured"
    assert measured.missing == {INFINITY_TORCH: "answered 500"}


def test_the_same_order_correlates_fully_whatever_the_scale_of_the_scores() -> None:
    logits = [-3.0, 2.0, 0.5, -1.0]
    probabilities = [1 / (1 + np.exp(-each)) for each in logits]

    agreement = rank_correlation({"a": logits, "b": probabilities, "c": logits[::-1]}, "a")

    assert agreement["b"] == pytest.approx(1.0)
    assert agreement["c"] < 1.0


def test_the_bare_loop_packs_every_pair_once_within_its_budget() -> None:
    framed = [Framed(np.zeros(length, np.int32), 1) for length in (3, 5, 5, 8, 20)]

    batches = list(packed(framed, budget=16))

    assert [len(batch) for batch in batches] == [3, 1, 1]  # 20 alone is over it, and runs alone
    assert [each for batch in batches for each in batch] == framed
