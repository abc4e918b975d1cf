import pytest

from finesieve_client.rag.agreement import agreement


@pytest.mark.parametrize(
    ("order", "tau"),
    [("abcd", 1.0), ("dcba", -1.0), ("bacd", 2 / 3), ("badc", 1 / 3), ("a", None), ("", None)],
)
def test_kendall_tau_is_that_of_the_textbook(order: str, tau: float | None) -> None:
    assert agreement(order, sorted(order)).kendall_tau == (
        None if tau is None else pytest.approx(tau)
    )


def test_overlap_counts_what_both_have_above_each_depth() -> None:
    found = agreement("abcdef", "bacfed")

    assert found.overlap == {1: 0.0, 3: 1.0, 5: pytest.approx(4 / 5)}


@pytest.mark.parametrize(("order", "other"), [("ab", "ac"), ("ab", "a"), ("aa", "aa"), ("a", "aa")])
def test_orders_of_different_things_are_not_compared(order: str, other: str) -> None:
    with pytest.raises(ValueError, match="same things"):
        agreement(order, other)
