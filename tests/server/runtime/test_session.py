"""A graph is loaded or refused with its reason; a batch gives the same bits however it is run."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.session import Session
from finesieve_server.runtime.tokenizer import Framed

MODELS = Path(__file__).parents[3] / "models"
CROSS_ENCODER = MODELS / "minilm-l6-cross-encoder" / "model.onnx"
BI_ENCODER = MODELS / "all-minilm-l6-v2" / "model.onnx"


class Clock:
    """A time that the test holds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def framed(*lengths: int) -> list[Framed]:
    random = np.random.default_rng(sum(lengths))
    return [
        Framed(random.integers(1000, 20_000, length).astype(np.int32), length // 3)
        for length in lengths
    ]


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x0a\x3a\x04\x0a\x02\x0a\x00"])
def test_a_file_that_is_no_graph_is_refused_with_the_reason(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(BadArtifact, match=r"onnxruntime cannot load model\.onnx"):
        Session(tmp_path / "model.onnx", threads=1, pad_id=0)


@pytest.mark.parametrize("model", [CROSS_ENCODER, BI_ENCODER])
def test_buffers_that_stay_give_the_bits_of_new_ones_whatever_ran_before(model: Path) -> None:
    fresh = Session(model, threads=1, pad_id=0)
    bound = Session(model, threads=1, pad_id=0, bind=True)
    # Longer, then shorter, in the same buffer and in a larger one: what an earlier batch left
    # there must not be read.
    batches = [framed(9, 30, 17), framed(5), framed(200, 180, 190, 170, 160, 150), framed(40, 3)]

    for batch in batches:
        rows = bound.run(batch)

        assert rows.tobytes() == fresh.run(batch).tobytes()
        assert rows.shape == fresh.run(batch).shape


def test_rows_belong_to_the_caller_and_the_next_batch_leaves_them_alone() -> None:
    session = Session(CROSS_ENCODER, threads=1, pad_id=0, bind=True)
    rows = session.run(framed(9, 30, 17))
    before = rows.copy()

    session.run(framed(12, 14, 16))

    assert rows.tobytes() == before.tobytes()


def test_batches_of_one_size_use_the_same_buffers_again() -> None:
    session = Session(CROSS_ENCODER, threads=1, pad_id=0, bind=True)
    session.run(framed(9, 30, 17))
    [binding] = session._idle_bindings
    buffers = dict(binding._buffers)

    session.run(framed(20, 21))

    assert session._idle_bindings == [binding]
    assert binding._buffers == buffers


def test_two_batches_at_once_on_one_session_do_not_mix() -> None:
    session = Session(CROSS_ENCODER, threads=1, pad_id=0, bind=True)
    batches = [framed(10 + number, 20 + number, 5) for number in range(40)]
    alone = [session.run(batch).tobytes() for batch in batches]

    with ThreadPoolExecutor(2) as two:
        together = list(two.map(lambda batch: session.run(batch).tobytes(), batches * 5))

    assert together == alone * 5
    assert len(session._idle_bindings) <= 2


def test_memory_is_given_back_once_a_minute() -> None:
    clock = Clock()
    session = Session(CROSS_ENCODER, threads=1, pad_id=0, clock=clock)
    gives_back = []

    for clock.now in (0, 59, 61, 62, 120, 122):
        gives_back.append(session._run_options() is not None)

    assert gives_back == [False, False, True, False, False, True]


def test_a_batch_that_gives_memory_back_scores_as_any_other() -> None:
    clock = Clock()
    session = Session(CROSS_ENCODER, threads=1, pad_id=0, bind=True, clock=clock)
    expected = session.run(framed(9, 30)).tobytes()

    for clock.now in (61, 62, 125):
        assert session.run(framed(9, 30)).tobytes() == expected


def test_a_segment_begins_where_the_second_text_does() -> None:
    session = Session(CROSS_ENCODER, threads=1, pad_id=0)
    ids = np.arange(1000, 1020, dtype=np.int32)

    one, other = session.run([Framed(ids, 5), Framed(ids, 15)])

    assert one != other
