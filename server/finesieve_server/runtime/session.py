"""Open an onnxruntime session and run padded batches through it. Knows no scores and no queue."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from finesieve_server.errors import ModelFailure
from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.tokenizer import Framed

CPU = "CPUExecutionProvider"
_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_RUN_ERRORS = (
    ort_errors.Fail,
    ort_errors.RuntimeException,
    ort_errors.InvalidArgument,
    ort_errors.NotImplemented,
    ort_errors.EPFail,
    MemoryError,
)


class Session:
    """One model on one device.

    A batch is padded to its longest member: its cost grows with len(batch) * longest.
    Raises BadArtifact where onnxruntime cannot load the graph.
    """

    def __init__(
        self, model_path: Path, *, threads: int, pad_id: int, providers: Sequence[str] = (CPU,)
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from tokenizing and from the other model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model_path, options, providers=list(providers))
        except _LOAD_ERRORS as error:
            raise BadArtifact(
                model_path.parent, f"onnxruntime cannot load {model_path.name}: {error}"
            ) from error
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._pad_id = pad_id
        self.provider: str = self._session.get_providers()[0]
        self.outputs = tuple(each.name for each in self._session.get_outputs())

    def run(self, batch: Sequence[Framed], output: str | None = None) -> NDArray[np.float32]:
        """Return one output (a model folder's has no other), one row per member, in their order.

        Raises ModelFailure where onnxruntime fails, for want of memory as well.
        """
        try:
            [rows] = self._session.run([output or self.outputs[0]], self._pad(batch))
        except _RUN_ERRORS as error:
            raise ModelFailure(f"onnxruntime failed on a batch of {len(batch)}") from error
        return np.asarray(rows, np.float32)

    def _pad(self, batch: Sequence[Framed]) -> dict[str, NDArray[np.int64]]:
        shape = (len(batch), max(len(framed) for framed in batch))
        ids = np.full(shape, self._pad_id, np.int64)  # (batch, tokens)
        mask = np.zeros(shape, np.int64)
        segments = np.zeros(shape, np.int64)
        for row, framed in enumerate(batch):
            ids[row, : len(framed)] = framed.ids
            mask[row, : len(framed)] = 1
            segments[row, framed.second_start : len(framed)] = 1
        every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
        return {name: value for name, value in every.items() if name in self._inputs}
