"""What bi-encoders and cross-encoders share: a manifest, a tokenizer, a session."""

import hashlib
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from math import exp
from typing import Self

import numpy as np
from numpy.typing import NDArray

from finesieve_server.runtime.artifact import Artifact, BadArtifact, Manifest
from finesieve_server.runtime.device import CPU, Device
from finesieve_server.runtime.query_template import QueryTemplate
from finesieve_server.runtime.session import Session
from finesieve_server.runtime.tokenizer import Framed, TokenIds, Tokenizer


class Encoder:
    """A loaded model, on one device. Any thread may use it."""

    def __init__(self, artifact: Artifact, *, threads: int, device: Device = CPU) -> None:
        self._artifact = artifact
        self._threads = threads
        self.manifest: Manifest = artifact.manifest
        self.sha256 = artifact.manifest.files["model.onnx"].sha256
        self.tokenizer = Tokenizer(artifact.tokenizer_path)
        self._session = self._open(device)

    def on(self, device: Device) -> Self:
        """Return the same model on another device; the tokenizer is shared."""
        other = copy(self)
        other._session = self._open(device)  # noqa: SLF001 - of this class
        return other

    def _open(self, device: Device) -> Session:
        return Session(
            self._artifact.model_path,
            threads=self._threads,
            pad_id=self.tokenizer.pad_id,
            device=device,
        )

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def max_tokens(self) -> int:
        return self.manifest.max_tokens

    @property
    def execution_provider(self) -> str:
        return self._session.provider

    def example(self, tokens: int) -> Framed:
        """Return something that costs as much as any real input of that many tokens."""
        return Framed(np.full(tokens, self.tokenizer.pad_id, np.int32), tokens)


class BiEncoder(Encoder):
    """Embeds texts; pooling and normalisation are part of its graph."""

    @property
    def room(self) -> int:
        """Tokens of text that fit the window beside the special tokens."""
        return self.manifest.max_tokens - self.tokenizer.single.num_special

    def frame(self, ids: TokenIds) -> Framed:
        return self.tokenizer.single.frame(ids[: self.room])

    def run(self, batch: Sequence[Framed]) -> NDArray[np.float32]:
        """Return one embedding a row, (batch, dimension)."""
        return self._session.run(batch)


class CrossEncoder(Encoder):
    """Scores (query, passage) pairs. Source: Nogueira & Cho 2019, arXiv:1901.04085."""

    def __init__(self, artifact: Artifact, *, threads: int, device: Device = CPU) -> None:
        super().__init__(artifact, threads=threads, device=device)
        manifest = artifact.manifest
        self.query_template = QueryTemplate(manifest.query_template, manifest.default_instruction)
        for name, text in (
            ("query_template", "".join(self.query_template.around())),
            ("passage_prefix", manifest.passage_prefix),
        ):
            [ids] = self.tokenizer.encode([text])
            if len(ids) > self.frame_room:
                raise BadArtifact(
                    artifact.folder,
                    f"{name} takes {len(ids)} tokens; at most {self.frame_room} of its window may",
                )

    @cached_property
    def tokens_key(self) -> str:
        """Digest of all that a passage's packed tokens depend on; models may share it."""
        made_by = (self.tokenizer.digest, self.manifest.passage_prefix, self.room)
        return hashlib.sha256(repr(made_by).encode()).hexdigest()

    @property
    def room(self) -> int:
        """Tokens of query and passage together that fit the window."""
        return self.manifest.max_tokens - self.tokenizer.pair.num_special

    @property
    def query_room(self) -> int:
        """Tokens of a query, its template included: passages always have the other half."""
        return self.room // 2

    @property
    def frame_room(self) -> int:
        """Tokens that a template, its instruction included, may take of the query's."""
        return self.query_room // 2

    def pack(self, passage: TokenIds) -> bytes:
        """Return a passage's tokens to be kept with it.

        One more than any pair holds: `unpack` gives what is too long for this model as too long.
        """
        return self.tokenizer.pack(passage[: self.room + 1])

    def unpack(self, packed: bytes) -> TokenIds:
        return self.tokenizer.unpack(packed)

    def frame(self, query: TokenIds, passage: TokenIds) -> Framed:
        return self.tokenizer.pair.frame(query, passage)

    def run(self, batch: Sequence[Framed]) -> NDArray[np.float32]:
        """Return one logit a pair, (batch,). Unbounded; `probability` makes it 0..1."""
        return self._session.run(batch).reshape(len(batch))

    def probability(self, logit: float) -> float:
        """Map a logit to 0..1 as the manifest declares."""
        calibration = self.manifest.calibration
        value = calibration.scale * logit + calibration.offset
        if self.manifest.activation == "identity":
            return min(1.0, max(0.0, value))
        # Both forms of the sigmoid, so that exp never overflows.
        if value >= 0:
            return 1.0 / (1.0 + exp(-value))
        return exp(value) / (1.0 + exp(value))
