"""Score inputs alone and in company; say how far the company moves a score.

A score should depend on its pair alone. Whether it does is decided by the model's operators and by
the machine, so this is measured where the model will run, with the server's own session.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finesieve_export.errors import ExportError
from finesieve_export.real_text import read_questions
from finesieve_server.errors import ModelFailure
from finesieve_server.runtime.session import Session
from finesieve_server.runtime.tokenizer import Framed, Tokenizer

Run = Callable[[Sequence[Framed]], NDArray[np.float32]]

_LARGEST_COMPANY = 16
_LENGTHS = 24
# Where a model has several outputs, the first of these is its score.
_SCORES = ("logits", "embedding", "sentence_embedding", "pooler_output", "last_hidden_state")
# A graph that wants inputs or gives shapes other than an encoder's: onnxruntime's and NumPy's word.
RUN_ERRORS = (ModelFailure, ValueError)


@dataclass(frozen=True, slots=True)
class Invariance:
    """How far outputs moved; 0 moved means: the same bits in every company."""

    companies: int
    compared: int
    moved: int
    largest_move: float
    mean_move: float
    score_deviation: float  # of the outputs alone, to read the moves by


def measure(run: Run, inputs: Sequence[Framed], *, companies: int, seed: int = 0) -> Invariance:
    """Run each input alone, then in seeded random companies, padded to the longest of each."""
    alone = [_tokens_of(run([framed])[0], framed) for framed in inputs]
    random = np.random.default_rng(seed)
    compared, moves = 0, []
    for _ in range(companies):
        size = int(random.integers(2, _LARGEST_COMPANY + 1))
        members = random.integers(0, len(inputs), size)
        rows = run([inputs[member] for member in members])
        for row, member in zip(rows, members, strict=True):
            compared += 1
            actual = _tokens_of(row, inputs[member])
            if actual.tobytes() != alone[member].tobytes():
                moves.append(float(np.abs(actual - alone[member]).max()))
    return Invariance(
        companies=companies,
        compared=compared,
        moved=len(moves),
        largest_move=float(np.max(moves, initial=0.0)),
        mean_move=sum(moves) / max(1, compared),
        score_deviation=float(np.std(np.concatenate([each.ravel() for each in alone]))),
    )


def measure_model(
    model: Path,
    tokenizer: Path,
    *,
    pairs: bool | None,
    max_tokens: int,
    companies: int,
    threads: int,
) -> Invariance:
    """Measure any ONNX encoder; pairs: None asks whether it has logits.

    Raises BadArtifact where the model or the tokenizer cannot be loaded.
    """
    if not tokenizer.is_file():
        raise ExportError(f"no {tokenizer}; give the model's tokenizer.json with --tokenizer")
    words = Tokenizer(tokenizer)
    session = Session(model, threads=threads, pad_id=words.pad_id)
    output = next((name for name in _SCORES if name in session.outputs), session.outputs[0])
    pairs = output == "logits" if pairs is None else pairs
    inputs = real_inputs(words, pairs=pairs, max_tokens=max_tokens)
    try:
        return measure(lambda batch: session.run(batch, output), inputs, companies=companies)
    except RUN_ERRORS as error:
        raise ExportError(
            f"{model} fails on up to {max_tokens} tokens (--max-tokens): {error.__cause__ or error}"
        ) from error


def real_inputs(tokenizer: Tokenizer, *, pairs: bool, max_tokens: int) -> list[Framed]:
    """Return real text framed at lengths spread from a few tokens to the window."""
    questions = read_questions(_LENGTHS)
    queries = tokenizer.encode([each.query for each in questions])
    long_text = np.concatenate(tokenizer.encode([each.passage for each in questions]))
    long_text = np.resize(long_text, max(len(long_text), max_tokens))  # again from its start
    template = tokenizer.pair if pairs else tokenizer.single
    framed = []
    for index, query in enumerate(queries):
        room = max(1, max_tokens - template.num_special)
        first = query[: max(1, room // 2)] if pairs else query[:0]
        length = max(1, (room - len(first)) * (index + 1) // len(queries))
        start = index * 7 % max(1, len(long_text) - length)
        text = long_text[start : start + length]
        framed.append(template.frame(first, text) if pairs else template.frame(text))
    return framed


def _tokens_of(row: NDArray[np.float32], framed: Framed) -> NDArray[np.float32]:
    """Leave out what a model gives for padding, where it gives something for each token."""
    return row[: len(framed)] if row.ndim == 2 else row
