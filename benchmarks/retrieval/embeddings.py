"""Embed texts with the bundled bi-encoder once, and keep what came of it."""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peer import THREADS
from finesieve_server.config import read_settings
from finesieve_server.model_setup import load_models
from finesieve_server.runtime.encoder import BiEncoder

BLOCK = 5_000  # texts kept together: who asks for fewer, or was interrupted, finds the first ones
BATCH = 64


class Embedder:
    """The bundled bi-encoder, in process and loaded only where something is new."""

    def __init__(self, folder: Path) -> None:
        """Keep embeddings in `folder`."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one embedding a text, (texts, dimension)."""
        began_s = time.monotonic()
        blocks = []
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            digest = hashlib.sha256("\0".join(block).encode()).hexdigest()[:16]
            path = self._folder / f"embeddings-{digest}.npy"
            if not path.exists():
                new = path.with_suffix(".new.npy")
                np.save(new, self._embedded(block))
                new.rename(path)
                print(
                    f"embedded {start + len(block)} of {len(texts)} texts,"
                    f" {time.monotonic() - began_s:.0f} s",
                    flush=True,
                )
            blocks.append(np.load(path))
        return np.concatenate(blocks)

    def _embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # Batches of like length: little is padded. One a core: side by side they are faster.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        vectors = np.empty((len(texts), self._model.manifest.dimension), np.float32)

        def embed(rows: list[int]) -> None:
            tokens = self._model.tokenizer.encode([texts[row] for row in rows])
            vectors[rows] = self._model.run([self._model.frame(each) for each in tokens])

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(embed, batches))
        return vectors

    @cached_property
    def _model(self) -> BiEncoder:
        models = load_models(read_settings([])).models[0]
        [model] = [each for each in models if isinstance(each, BiEncoder)]
        return model
