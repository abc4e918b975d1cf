import pytest

from benchmarks.gpu.callers import dealt


def test_no_two_callers_ask_for_the_same() -> None:
    messages = [bytes([number]) for number in range(10)]

    hands = dealt(messages, callers=4)

    assert len(hands) == 4
    assert sorted(message for hand in hands for message in hand) == messages


@pytest.mark.parametrize("messages", [[b"a", b"b"], [b"a", b"b", b"c", b"a"]])
def test_too_few_requests_or_the_same_twice_are_refused(messages: list[bytes]) -> None:
    with pytest.raises(ValueError, match="all different"):
        dealt(messages, callers=3)
