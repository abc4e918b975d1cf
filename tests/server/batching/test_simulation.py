"""What the plan is for, over thousands of calls: goodput under overload, and fairness."""

import random
import statistics
from collections.abc import Sequence
from functools import cache

import pytest

from tests.server.batching.scheduling import (
    ARMS,
    PAIRS,
    PEAK,
    beside_bulk,
    bursty,
    closed,
    goodput,
    mixed,
    neighbours,
    rerank,
    run,
    scored,
    steady,
)
from tests.server.batching.simulation import Call, Played

SECONDS = 30.0
OTHERS = [arm for arm in ARMS if arm != "finesieve"]


@cache
def overloaded(factor: float, arm: str = "finesieve") -> Played:
    return run(arm, steady(factor * PEAK, SECONDS, 4, rerank))


def late(calls: Sequence[Call]) -> float:
    return sum(not call.good and not call.refused for call in calls) / len(calls)


def test_at_the_peak_all_but_one_in_a_thousand_are_answered_in_time() -> None:
    calls = run("finesieve", steady(PEAK, 400.0, 7, rerank)).calls

    assert len(calls) > 1000
    assert sum(call.good for call in calls) >= 0.999 * len(calls)


@pytest.mark.parametrize(("factor", "kept"), [(1, 0.99), (2, 0.95), (5, 0.90), (10, 0.80)])
def test_overload_leaves_the_peaks_goodput(factor: float, kept: float) -> None:
    peak = goodput(overloaded(1).calls, SECONDS)

    assert goodput(overloaded(factor).calls, SECONDS) >= kept * peak


@pytest.mark.parametrize("factor", [2, 5, 10])
def test_hardly_any_admitted_call_is_late(factor: float) -> None:
    assert late(overloaded(factor).calls) <= 0.01


@pytest.mark.parametrize("factor", [5, 10])
def test_a_device_with_slow_spells_is_late_for_few_of_those_it_lets_in(factor: float) -> None:
    calls = run("finesieve", steady(factor * PEAK, SECONDS, 4, rerank), spells=0.2).calls
    admitted = [call for call in calls if not call.refused]

    assert goodput(admitted, len(admitted)) >= 0.98


@pytest.mark.parametrize("arm", OTHERS)
@pytest.mark.parametrize("factor", [1, 2, 5, 10])
def test_no_simpler_arm_does_better(factor: float, arm: str) -> None:
    ours = goodput(overloaded(factor).calls, SECONDS)

    assert ours >= 0.98 * goodput(overloaded(factor, arm).calls, SECONDS)


@pytest.mark.parametrize("arm", OTHERS)
def test_no_simpler_arm_does_better_in_bursts_or_with_calls_of_all_sizes(arm: str) -> None:
    for make, arrive in ((rerank, bursty), (mixed, steady)):
        ours = run("finesieve", arrive(2 * PEAK, SECONDS, 5, make)).calls
        theirs = run(arm, arrive(2 * PEAK, SECONDS, 5, make)).calls

        assert scored(ours, SECONDS) >= 0.98 * scored(theirs, SECONDS)


def test_nine_quiet_tenants_lose_at_most_two_in_a_hundred_to_a_noisy_one() -> None:
    among_equals, beside_noise = neighbours(1.0), neighbours(10.0)

    assert goodput(beside_noise, 1.0) >= 0.98 * goodput(among_equals, 1.0)


def test_bulk_is_served_under_any_load_and_costs_interactive_calls_little() -> None:
    interactive, bulk = beside_bulk(10.0, seconds=SECONDS)
    alone = goodput(overloaded(10).calls, SECONDS)

    assert scored(bulk, SECONDS) > 0.05 * 320  # pairs/s that the device can do
    assert goodput(interactive, SECONDS) >= 0.85 * alone


def test_without_load_bulk_has_the_device() -> None:
    interactive, bulk = beside_bulk(0.25, seconds=SECONDS)

    assert scored(bulk, SECONDS) > 0.7 * 320
    assert all(call.good for call in interactive)


@pytest.mark.parametrize("tokens", [None, 80], ids=["mixed lengths", "one length"])
def test_a_large_caller_and_ten_small_ones_starve_nobody(tokens: int | None) -> None:
    def call(at: float, documents: int, chance: random.Random) -> Call:
        lengths = [tokens] * documents if tokens else chance.choices(PAIRS, k=documents)
        return Call(at, lengths, 30.0)

    def again(done: Call, chance: random.Random) -> Call:
        return call(done.done_at, len(done.lengths), chance)

    chance = random.Random(2)
    small = [call(0.001 * n, 20, chance) for n in range(10)]
    alone = closed(small, again, 60.0).calls
    small = [call(0.001 * n, 20, chance) for n in range(10)]
    together = closed([*small, call(0.5, 1000, chance)], again, 60.0).calls

    def took(calls: Sequence[Call]) -> list[float]:
        return [each.took_s for each in calls if len(each.lengths) == 20]

    assert all(each.good for each in together)
    assert sum(len(each.lengths) == 1000 for each in together) >= 2
    assert statistics.median(took(together)) <= 2 * statistics.median(took(alone))
    assert max(took(together)) < 5.0


def test_a_closed_loop_of_mixed_lengths_pads_at_most_three_in_a_hundred_positions() -> None:
    chance = random.Random(3)

    def again(done: Call, chance: random.Random) -> Call:
        return Call(done.done_at, chance.choices(PAIRS, k=32), 30.0)

    played = closed(
        [Call(0.001 * n, chance.choices(PAIRS, k=32), 30.0) for n in range(16)], again, 30.0
    )

    assert all(call.good for call in played.calls)
    assert played.padding <= 0.03
