"""Segments are merged before they become many, and never into one that is too large."""

from dataclasses import replace

import pytest

from finesieve_server.index.postings import MAX_PAGE_BITS, MAX_SLOTS, page_bits
from finesieve_server.index.segments import MAX_POSTINGS, MERGED_AT_ONCE, Row, due_of


def row(number: int, living: int, postings: int) -> Row:
    return Row(number, number, number, living, page_bits(postings), living)


@pytest.mark.parametrize("each", [1, 20, 300, 2_000, 30_000])
def test_segments_stay_few_and_of_a_bounded_size(each: int) -> None:
    """As 400 batches of 1,000 passages come, with so many distinct words each."""
    rows: list[Row] = []
    moved = 0
    for number in range(400):
        rows.append(row(number, 1_000, 1_000 * each))
        due = due_of(rows)
        if due:
            living = sum(each.living for each in due)
            assert living <= MAX_SLOTS
            assert living * each <= MAX_POSTINGS
            assert list(due) == rows[-len(due) :]
            rows[-len(due) :] = [row(number, living, living * each)]
            moved += living

    fewest = max(400_000 / MAX_SLOTS, 400_000 * each / MAX_POSTINGS)
    assert len(rows) <= 4 * fewest + 2 * MERGED_AT_ONCE
    assert moved <= 4 * 400_000, "none is moved often"


def test_a_segment_that_is_mostly_gone_takes_a_neighbour_only_where_both_fit() -> None:
    hollow, small = replace(row(1, 1_000, 10_000), slots=5_000), row(2, 5_000, 50_000)
    huge = row(2, 30_000, 100 * MAX_POSTINGS)

    assert list(due_of([hollow, small])) == [hollow, small]
    assert list(due_of([hollow, huge])) == [hollow]


def test_a_page_number_never_reaches_the_next_segments() -> None:
    assert page_bits(0) == 0
    assert [page_bits(10**power) for power in (6, 9, 12)] == [9, MAX_PAGE_BITS, MAX_PAGE_BITS]
