import random
from collections.abc import Callable
from itertools import pairwise

from finesieve_client.chunking.packing import Part, Piece, common, pack


def pieces(*tokens: int, headings: tuple[str, ...] = ()) -> list[Piece]:
    return [Piece(at, at + 1, count, headings) for at, count in enumerate(tokens)]


def ranges(parts: list[Part]) -> list[tuple[int, int]]:
    return [part.range for part in parts]


def packed(
    given: list[Piece], size: int, overlap: int = 0, title: int = 0
) -> list[tuple[int, int]]:
    return ranges(pack(given, [size], overlap, lambda _: title))


def test_chunks_are_as_full_as_their_size_allows() -> None:
    assert packed(pieces(4, 4, 4, 4, 4), 10) == [(0, 2), (2, 4), (4, 5)]


def test_what_fits_into_two_chunks_is_halved() -> None:
    assert packed(pieces(4, 4, 1, 1, 1, 1), 10) == [(0, 2), (2, 6)]
    assert packed(pieces(*[1] * 12), 10) == [(0, 6), (6, 12)]
    assert packed(pieces(*[1] * 12), 10, overlap=2) == [(0, 7), (5, 12)]


def test_the_title_takes_its_part_of_the_size() -> None:
    assert packed(pieces(4, 4, 4, 4), 10, title=3) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_chunks_overlap_by_whole_pieces() -> None:
    assert packed(pieces(4, 4, 2, 4, 4), 10, overlap=5) == [(0, 3), (2, 5)]
    assert packed(pieces(4, 4, 2, 4, 4), 10, overlap=1) == [(0, 3), (3, 5)]


def test_an_overlap_leaves_room_for_something_new() -> None:
    assert packed(pieces(5, 5, 9, 5), 10, overlap=5) == [(0, 2), (2, 3), (3, 4)]


def test_a_chunk_ends_with_its_section() -> None:
    first, second = pieces(4, headings=("A",)), pieces(4, headings=("B",))

    assert packed([*first, *second], 10) == [(0, 1), (1, 2)]


def test_a_section_too_small_to_stand_alone_begins_the_next_chunk() -> None:
    tiny, section = pieces(2, headings=("A",)), pieces(8, 4, headings=("B",))

    assert packed([*tiny, *section], 10) == [(0, 2), (2, 3)]


def test_the_last_section_if_too_small_ends_the_chunk_before() -> None:
    section, tiny = pieces(8, headings=("A",)), pieces(2, headings=("B",))

    assert packed([*section, *tiny], 10) == [(0, 2)]


def test_a_heading_goes_with_what_it_stands_over() -> None:
    given = [Piece(0, 1, 6), Piece(1, 2, 2, is_heading=True), Piece(2, 3, 6)]

    assert packed(given, 10) == [(0, 1), (1, 3)]


def test_parts_are_divided_into_smaller_ones() -> None:
    (outer,) = pack(pieces(*[4] * 8), [40, 16, 8], 0, lambda _: 0)

    assert outer.range == (0, 8)
    assert ranges(list(outer.parts)) == [(0, 4), (4, 8)]
    assert [ranges(list(part.parts)) for part in outer.parts] == [
        [(0, 2), (2, 4)],
        [(4, 6), (6, 8)],
    ]


def test_an_only_part_takes_the_place_of_what_it_would_be_part_of() -> None:
    assert pack(pieces(4, 4), [40, 16, 8], 0, lambda _: 0) == [Part((0, 2))]


def test_only_the_smallest_parts_overlap() -> None:
    outer = pack(pieces(*[4] * 8), [16, 8], 4, lambda _: 0)

    assert ranges(outer) == [(0, 4), (4, 8)]
    assert ranges(list(outer[0].parts)) == [(0, 2), (1, 3), (2, 4)]


def test_common_headings_are_those_from_the_outermost_on() -> None:
    assert common([("A", "B", "C"), ("A", "B"), ("A", "B", "D")]) == ("A", "B")
    assert common([("A",), ()]) == ()
    assert common([("A", "X", "C"), ("A", "Y", "C")]) == ("A",)


def test_every_piece_is_in_a_chunk_of_the_size_and_order_holds(
    repetitions: Callable[[int, int], int],
) -> None:
    for seed in range(repetitions(300, 30_000)):
        chance = random.Random(seed)
        size = chance.randint(8, 60)
        title = chance.randint(0, size // 4)
        overlap = chance.randint(0, size // 2)
        given = []
        section = 0
        for at in range(chance.randint(1, 80)):
            section += chance.random() < 0.2
            tokens = chance.randint(1, size - title)
            heading = chance.random() < 0.1
            given.append(Piece(at, at + 1, tokens, (str(section),), heading))

        parts = pack(given, [size], overlap, lambda _, title=title: title)  # type: ignore[misc]

        covered = {at for part in parts for at in range(*part.range)}
        assert covered == set(range(len(given))), seed
        for part in parts:
            assert title + sum(piece.tokens for piece in given[slice(*part.range)]) <= size, seed
        for before, after in pairwise(parts):
            assert before.range[0] < after.range[0] <= before.range[1] < after.range[1], seed
            shared = given[after.range[0] : before.range[1]]
            assert sum(piece.tokens for piece in shared) <= overlap, seed
