import pytest

from finesieve_server.batching.reserve import Reserve


def after(calls: int, refused_of_ten: int) -> Reserve:
    reserve = Reserve()
    for at in range(calls):
        reserve.observe(refused=at % 10 < refused_of_ten)
    return reserve


def test_where_nothing_is_refused_a_fifth_of_the_time_is_kept() -> None:
    assert after(1000, refused_of_ten=0).share == pytest.approx(0.2)


def test_the_more_is_refused_the_more_is_kept_and_never_more_than_half() -> None:
    shares = [after(1000, refused).share for refused in range(11)]

    assert shares == sorted(shares)
    assert 0.45 < shares[9] < shares[10] <= 0.5


def test_a_sudden_overload_is_known_within_fifty_calls_and_forgotten_as_soon() -> None:
    reserve = after(50, refused_of_ten=10)
    assert reserve.share > 0.4

    for _ in range(50):
        reserve.observe(refused=False)
    assert reserve.share < 0.3
