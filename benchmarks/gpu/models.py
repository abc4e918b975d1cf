"""Make the cross-encoders that a card is measured with, and count what they compute."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu import torch_speed
from benchmarks.gpu.host_ceiling import BUNDLED
from finesieve_export.convert import Request, convert
from finesieve_export.parity import Tolerance
from finesieve_server.runtime.artifact import read_artifact
from finesieve_server.runtime.device import Wanted

# Random weights say nothing, and lose as much in fp16.
_ANY_LOSS = Tolerance(largest_error=1e9, rank_correlation=-1, top_10_overlap=0)


@dataclass(frozen=True, slots=True)
class Size:
    """What a model's operations are counted from."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int

    def flops(self, tokens: int) -> float:
        """Return the operations of one pair: two for each multiplication that is added up.

        A layer multiplies every token by four square matrices and two of the feed-forward part,
        and every token with every other one twice.
        """
        projections = 4 * tokens * self.hidden_size**2
        feed_forward = 2 * tokens * self.hidden_size * self.intermediate_size
        attention = 2 * tokens**2 * self.hidden_size
        return 2.0 * self.num_hidden_layers * (projections + feed_forward + attention)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is measured, as a checkpoint and as our fp16 folder."""

    name: str
    size: Size
    checkpoint: Path
    folder: Path


def subjects(place: Path, device: Wanted) -> Iterator[Subject]:
    """Yield each model, exported in fp16 and tried on `device`."""
    for name, architecture, size, heads, words in (
        ("MiniLM-L6 (22.7 M weights)", "Bert", Size(384, 1536, 6), 12, 30_522),
        ("XLM-R-base's size (278 M weights)", "XLMRoberta", Size(768, 3072, 12), 12, 250_002),
    ):
        checkpoint = torch_speed.save_random_cross_encoder(
            place / architecture,
            architecture,
            BUNDLED / "tokenizer.json",
            vocab_size=words,
            num_attention_heads=heads,
            hidden_size=size.hidden_size,
            intermediate_size=size.intermediate_size,
            num_hidden_layers=size.num_hidden_layers,
        )
        folder = place / f"{architecture}-fp16"
        request = Request(
            str(checkpoint),
            "cross-encoder",
            "fp16",
            folder,
            _ANY_LOSS,
            threads=len(os.sched_getaffinity(0)),
            device=device,
        )
        convert(request, _say_nothing)
        print(f"{name}: fused {dict(read_artifact(folder).manifest.fused)}", flush=True)
        yield Subject(name, size, checkpoint, folder)


def _say_nothing(step: str, done: float = 0.0) -> None:
    """Take a conversion's progress."""
