"""How a long passage is cut."""

from itertools import pairwise

import pytest

from finesieve_server.search.chunks import Chunk, cut


def test_a_passage_that_fits_is_one_chunk() -> None:
    assert cut(100, size=100, max_chunks=4) == ([Chunk(0, 100)], False)


@pytest.mark.parametrize("num_tokens", [101, 250, 999])
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_chunks_cover_every_token_and_overlap(num_tokens: int, size: int) -> None:
    chunks, rest = cut(num_tokens, size, max_chunks=2000)

    assert not rest
    assert chunks[0].start == 0
    assert chunks[-1].end == num_tokens
    assert all(chunk.end - chunk.start <= size for chunk in chunks)
    for before, after in pairwise(chunks):
        assert before.start < after.start <= before.end
        if size >= 4:
            assert after.start < before.end


def test_tokens_beyond_the_last_chunk_are_reported() -> None:
    chunks, rest = cut(1000, size=100, max_chunks=3)

    assert len(chunks) == 3
    assert rest
