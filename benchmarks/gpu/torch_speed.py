"""What torch does on the same card: a dense matrix product, and sentence-transformers in fp16.

In a process of its own: torch and onnxruntime each bring their CUDA libraries.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

_SIDE = 8192
_PRODUCTS = 50
_ROUNDS = 5

T = TypeVar("T")


def matrix_product_flops() -> float:
    """Return the operations a second of dense fp16 products of 8192 x 8192, the best of rounds."""
    return _elsewhere(_matrix_product_flops)


def sentence_transformers_pairs_s(
    checkpoint: Path, pairs: Sequence[tuple[str, str]], batch: int
) -> float:
    """Return the pairs a second of CrossEncoder.predict in fp16, its tokenizing counted."""
    return _elsewhere(_sentence_transformers_pairs_s, str(checkpoint), list(pairs), batch)


def save_random_cross_encoder(
    folder: Path, architecture: str, tokenizer: Path, **size: int
) -> Path:
    """Save a checkpoint with random weights, which is as fast as one that knows something."""
    import transformers

    library: Any = transformers
    words = library.PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"]
        + (["token_type_ids"] if architecture == "Bert" else []),
    )
    words.save_pretrained(folder)
    config = getattr(library, f"{architecture}Config")(
        num_labels=1, max_position_embeddings=514, pad_token_id=0, **size
    )
    getattr(library, f"{architecture}ForSequenceClassification")(config).save_pretrained(folder)
    return folder


def _elsewhere(work: Callable[..., T], *arguments: object) -> T:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _matrix_product_flops() -> float:
    import torch

    left, right = (torch.randn(_SIDE, _SIDE, device="cuda").half() for _ in range(2))
    seconds = []
    for _ in range(_ROUNDS + 1):  # the first warms up
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(_PRODUCTS):
            torch.mm(left, right)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * _SIDE**3 * _PRODUCTS / min(seconds[1:])


def _sentence_transformers_pairs_s(
    checkpoint: str, pairs: Sequence[tuple[str, str]], batch: int
) -> float:
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(checkpoint, device="cuda", model_kwargs={"dtype": torch.float16})
    rates = []
    for _ in range(_ROUNDS + 1):
        started = time.perf_counter()
        model.predict(list(pairs), batch_size=batch, show_progress_bar=False)
        rates.append(len(pairs) / (time.perf_counter() - started))
    return max(rates[1:])
