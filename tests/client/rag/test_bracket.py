import random
from collections.abc import Sequence

import pytest

from finesieve_client.rag.bracket import ALL_PAIRS, Pair, num_pairs, play


class Games:
    """Lets who has more strength win; equal ones draw. Keeps the rounds."""

    def __init__(self, strength: Sequence[float]) -> None:
        self.strength = strength
        self.rounds: list[list[Pair]] = []

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        self.rounds.append(list(pairs))
        difference = [self.strength[first] - self.strength[second] for first, second in pairs]
        return [0.5 if each == 0 else float(each > 0) for each in difference]


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10])
def test_up_to_ten_all_meet_and_the_order_is_that_of_their_strength(count: int) -> None:
    strength = random.Random(count).sample(range(100), count)
    games = Games(strength)

    order = play(count, games)

    assert order == sorted(range(count), key=lambda player: -strength[player])
    assert sum(map(len, games.rounds)) == num_pairs(count) == count * (count - 1) // 2


@pytest.mark.parametrize("count", [11, 12, 19, 20, 21, 37, 100, 101])
def test_above_ten_the_strongest_wins_and_everybody_has_a_place(count: int) -> None:
    for seed in range(20):
        strength = random.Random(seed).sample(range(1_000), count)
        games = Games(strength)

        order = play(count, games)

        assert order[0] == max(range(count), key=lambda player: strength[player])
        assert sorted(order) == list(range(count))
        assert sum(map(len, games.rounds)) == num_pairs(count)


@pytest.mark.parametrize("count", [*range(31), 99, 100])
def test_draws_alone_leave_the_first_stages_order(count: int) -> None:
    assert play(count, Games([0] * count)) == list(range(count))


def test_the_odd_one_advances_and_is_not_dropped() -> None:
    games = Games([0] * 21)

    order = play(21, games)

    first_round, second_round, last = games.rounds
    assert len(first_round) == 10
    assert 0 not in {player for pair in first_round for player in pair}  # the best one sits out
    assert len(second_round) == 5  # of the eleven who go on
    assert len({player for pair in last for player in pair}) == 6 <= ALL_PAIRS
    assert len(order) == 21


def test_who_is_knocked_out_later_stands_higher() -> None:
    strength = [*range(40)]  # the first stage has it upside down
    order = play(40, Games(strength))

    assert [len(play(count, Games(range(count)))) for count in (11, 40)] == [11, 40]
    assert order[0] == 39
    assert set(order[20:]) == set(range(20))  # each lost its first game to one of the upper half
    assert order[20:] == sorted(order[20:])  # equal ones by the first stage


def test_the_pairs_of_a_round_are_counted_beforehand() -> None:
    assert [num_pairs(count) for count in (0, 1, 2, 10, 11, 20, 100)] == [
        0,
        0,
        1,
        45,
        5 + 15,
        10 + 45,
        50 + 25 + 12 + 6 + 21,
    ]
