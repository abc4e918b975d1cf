from collections import Counter

import pytest

from finesieve_server.errors import Overloaded
from finesieve_server.rpc.admission import Admission, Phase
from finesieve_server.telemetry import Metrics

PLACES = 90


@pytest.fixture
def admission() -> Admission:
    admission = Admission(PLACES, Metrics().calls_in_flight)
    admission.phase = Phase.SERVING
    return admission


def let_in(admission: Admission, *tenants: str, calls: int) -> Counter[str]:
    """Return how many of so many calls a tenant are let in, when they call in turn."""
    inside: Counter[str] = Counter()
    for _ in range(calls):
        for tenant in tenants:
            try:
                admission.enter(tenant)
            except Overloaded:
                continue
            inside[tenant] += 1
    return inside


def test_a_tenant_alone_gets_nearly_all_places(admission: Admission) -> None:
    assert let_in(admission, "noisy", calls=1_000) == {"noisy": PLACES * 8 // 9}


@pytest.mark.parametrize("places", range(1, 9))
def test_a_small_server_can_be_filled_by_one_tenant(places: int) -> None:
    admission = Admission(places, Metrics().calls_in_flight)
    admission.phase = Phase.SERVING

    assert let_in(admission, "only", calls=10) == {"only": places}


def test_a_noisy_tenant_leaves_room_for_nine_quiet_ones(admission: Admission) -> None:
    let_in(admission, "noisy", calls=1_000)
    quiet = [f"quiet {at}" for at in range(9)]

    assert let_in(admission, *quiet, calls=1) == dict.fromkeys(quiet, 1)


def test_tenants_that_all_want_everything_share_alike(admission: Admission) -> None:
    inside = let_in(admission, "a", "b", "c", calls=1_000)

    assert max(inside.values()) - min(inside.values()) <= 1
    assert inside.total() >= PLACES * 24 // 25


def test_what_a_noisy_tenant_gives_back_goes_to_who_has_less(admission: Admission) -> None:
    let_in(admission, "noisy", calls=1_000)
    let_in(admission, "late", calls=1_000)
    taken: Counter[str] = Counter()
    for _ in range(30):
        admission.leave("noisy", 0.01)
        taken += let_in(admission, "noisy", "late", calls=1)

    assert taken["noisy"] == 0
    assert taken["late"] >= 27


def test_no_more_are_let_in_than_there_are_places(admission: Admission) -> None:
    inside = let_in(admission, *(f"tenant {at}" for at in range(1_000)), calls=2)

    assert inside.total() == PLACES


def test_who_has_left_is_forgotten(admission: Admission) -> None:
    for at in range(1_000):
        admission.enter(f"tenant {at}")
        admission.leave(f"tenant {at}", 0.01)

    assert not admission._inside
    assert let_in(admission, "other", calls=1_000) == {"other": PLACES * 8 // 9}


def test_hours_of_a_stream_do_not_tell_a_refused_caller_to_stay_away(admission: Admission) -> None:
    let_in(admission, "noisy", calls=1_000)
    admission.leave("noisy", 36_000)
    admission.enter("noisy")

    with pytest.raises(Overloaded) as refused:
        admission.enter("noisy")

    assert refused.value.retry_after_s is not None
    assert 0.05 <= refused.value.retry_after_s < 0.5
