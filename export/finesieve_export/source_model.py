"""The model as it was published: load it safely, trace it to ONNX, score with it in PyTorch.

The only module that runs torch; imported only where a model is converted.
"""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
import transformers
from numpy.typing import NDArray
from optimum.exporters.onnx import export
from optimum.exporters.tasks import TasksManager
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from finesieve_export.checkpoint import Checkpoint
from finesieve_export.errors import BadCheckpoint

# The first with every operator that the head and the int8 products are made of.
_OPSET = 18
# Eager attention traces to plain products whose scale onnxruntime folds into them.
_LOADING = {
    "dtype": torch.float32,
    "attn_implementation": "eager",
    "use_safetensors": True,
    "trust_remote_code": False,
}
_TASKS = {
    "bi-encoder": ("feature-extraction", transformers.AutoModel),
    "cross-encoder": ("text-classification", transformers.AutoModelForSequenceClassification),
}


def trace(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Return the encoder as an ONNX graph in float32, made by optimum."""
    task, automatic = _TASKS[checkpoint.kind]
    with _reading(checkpoint.folder, "weights"):
        model, loading = automatic.from_pretrained(
            checkpoint.folder, output_loading_info=True, **_LOADING
        )
    # An encoder's pooler is not part of an embedding; anything else would be random numbers.
    missing = [name for name in loading["missing_keys"] if "pooler" not in name]
    if missing:
        raise BadCheckpoint(
            f"{checkpoint.folder} has no weights for {', '.join(missing[:4])}; "
            f"is it a {checkpoint.kind}?"
        )
    try:
        configure = TasksManager.get_exporter_config_constructor(
            "onnx", model=model, task=task, library_name="transformers"
        )
    except (KeyError, ValueError) as error:
        raise BadCheckpoint(f"optimum cannot convert {type(model).__name__}: {error}") from error
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Tracing warns of every Python branch it takes; the parity report checks the result.
        warnings.simplefilter("ignore")
        path = Path(folder) / "traced.onnx"
        export(model.eval(), configure(model.config), path, opset=_OPSET)
        return onnx.load(path)


def tokenizer_json(checkpoint: Checkpoint) -> str:
    """Return the tokenizer as transformers runs it, without truncation and padding of its own."""
    automatic: Any = transformers.AutoTokenizer
    with _reading(checkpoint.folder, "tokenizer"):
        tokenizer = automatic.from_pretrained(
            checkpoint.folder, use_fast=True, trust_remote_code=False
        )
    if not tokenizer.is_fast:
        raise BadCheckpoint(f"{checkpoint.folder} has no fast tokenizer; save one beside it")
    core = tokenizer.backend_tokenizer
    core.no_truncation()
    core.no_padding()
    return cast(str, core.to_str(pretty=False))


@contextmanager
def _reading(folder: Path, what: str) -> Iterator[None]:
    """Say which part of a checkpoint the libraries could not read."""
    try:
        yield
    except Exception as error:  # They raise nearly anything at broken files.
        detail = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BadCheckpoint(f"{folder}: its {what} cannot be read: {detail}") from error


class SourceModel:
    """The checkpoint under sentence-transformers: what the export must agree with."""

    def __init__(self, checkpoint: Checkpoint, *, threads: int) -> None:
        torch.set_num_threads(threads)
        with _reading(checkpoint.folder, "sentence-transformers model"):
            self._load(checkpoint)

    def _load(self, checkpoint: Checkpoint) -> None:
        loading = {key: value for key, value in _LOADING.items() if key != "trust_remote_code"}
        self._model: Any
        if checkpoint.kind == "cross-encoder":
            self._model = CrossEncoder(
                str(checkpoint.folder),
                device="cpu",
                max_length=checkpoint.max_tokens,
                model_kwargs=loading,
            )
            return
        if (checkpoint.folder / "modules.json").is_file():
            self._model = SentenceTransformer(
                str(checkpoint.folder), device="cpu", model_kwargs=loading
            )
        else:
            transformer = Transformer(str(checkpoint.folder), model_kwargs=loading)
            mode = "lasttoken" if checkpoint.pooling == "last" else checkpoint.pooling
            pooling = Pooling(transformer.get_embedding_dimension(), mode)
            normalize = [Normalize()] if checkpoint.normalized else []
            self._model = SentenceTransformer(
                modules=[transformer, pooling, *normalize], device="cpu"
            )
        self._model.max_seq_length = checkpoint.max_tokens

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one embedding a text, (texts, dimension); prefixes are the caller's."""
        return cast(
            NDArray[np.float32],
            self._model.encode(list(texts), prompt="", show_progress_bar=False),
        )

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return one logit a (query, passage) pair."""
        return cast(
            NDArray[np.float32],
            self._model.predict(
                list(pairs), activation_fn=torch.nn.Identity(), show_progress_bar=False
            ),
        )
