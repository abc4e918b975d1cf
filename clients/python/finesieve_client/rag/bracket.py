"""Decide who meets whom in a tournament, and what order the games make. No I/O.

Above ten, knock-out rounds; the last ten or fewer all meet each other. Players are places in the
first stage's order, from 0; whatever is equal goes by them.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

ALL_PAIRS = 10

Pair = tuple[int, int]
Games = Callable[[Sequence[Pair]], Sequence[float]]


def play(num_players: int, games: Games) -> list[int]:
    """Return the players' order, best first.

    `games` gives the first player's points of each pair: 1 for a victory, 0.5 for a draw, 0.
    Who is knocked out stands below all who go on, above those who were knocked out earlier.
    """
    playing = list(range(num_players))
    knocked_out: list[list[int]] = []
    while len(playing) > ALL_PAIRS:
        pairs = _knock_out_pairs(playing)
        # The first of a pair is the one that the first stage has above: it wins a draw.
        lost = {
            second if points >= 0.5 else first
            for (first, second), points in zip(pairs, games(pairs), strict=True)
        }
        knocked_out.append(sorted(lost))
        playing = [player for player in playing if player not in lost]
    order = _by_points(playing, games)
    for lost_together in reversed(knocked_out):
        order += lost_together
    return order


def num_pairs(num_players: int) -> int:
    """Return how many pairs meet."""
    knock_outs = 0
    while num_players > ALL_PAIRS:
        knock_outs += num_players // 2
        num_players -= num_players // 2
    return knock_outs + num_players * (num_players - 1) // 2


def _knock_out_pairs(playing: Sequence[int]) -> list[Pair]:
    """Pair the first with the last, and so on; of an odd number the best one advances unplayed."""
    paired = playing[len(playing) % 2 :]
    half = len(paired) // 2
    return list(zip(paired[:half], reversed(paired[half:]), strict=True))


def _by_points(players: Sequence[int], games: Games) -> list[int]:
    pairs = list(combinations(players, 2))
    points = dict.fromkeys(players, 0.0)
    for (first, second), won in zip(pairs, games(pairs) if pairs else (), strict=True):
        points[first] += won
        points[second] += 1 - won
    return sorted(players, key=lambda player: (-points[player], player))
