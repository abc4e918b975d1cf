"""Open an onnxruntime session and run padded batches through it. Knows no scores and no queue."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from finesieve_server.errors import ModelFailure
from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.batch import INPUTS, fill
from finesieve_server.runtime.binding import Binding
from finesieve_server.runtime.device import CPU, CUDA_PROVIDER, Device, NoDevice
from finesieve_server.runtime.tokenizer import Framed

# How often a card's memory is given back that a peak took. Taking it again costs the next batches
# some milliseconds, which is nothing once a minute and much at every batch.
_GIVE_BACK_EVERY_S = 60.0
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
    Threads may run batches side by side.
    Raises BadArtifact where onnxruntime cannot load the graph, NoDevice where the card is not had.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        threads: int,
        pad_id: int,
        device: Device = CPU,
        bind: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open it. `bind`: run through buffers that stay, as on a card, also on the CPU."""
        options = _session_options(threads, device)
        try:
            self._session = ort.InferenceSession(
                model_path, options, providers=device.providers(), enable_fallback=0
            )
        except _LOAD_ERRORS as error:
            raise BadArtifact(
                model_path.parent, f"onnxruntime cannot load {model_path.name}: {error}"
            ) from error
        self.provider: str = self._session.get_providers()[0]
        if device.is_cuda and self.provider != CUDA_PROVIDER:
            raise NoDevice(f"card {device.index}: onnxruntime went back to {self.provider}")
        known = {each.name for each in self._session.get_inputs()}
        self._inputs = [name for name in INPUTS if name in known]
        self._rows = {each.name: each.shape[1:] for each in self._session.get_outputs()}
        self.outputs = tuple(self._rows)
        self._pad_id = pad_id
        self._device = device
        self._bind = bind or device.is_cuda
        self._idle_bindings: list[Binding] = []
        self._clock = clock
        self._give_back_at = clock() + _GIVE_BACK_EVERY_S

    def run(self, batch: Sequence[Framed], output: str | None = None) -> NDArray[np.float32]:
        """Return one output (a model folder's has no other), one row per member, in their order.

        Raises ModelFailure where onnxruntime fails, for want of memory as well.
        """
        name = output or self.outputs[0]
        # An output whose rows grow with the batch's length is none of a model folder's.
        bound = self._bind and all(isinstance(each, int) for each in self._rows[name])
        try:
            return self._run_bound(batch, name) if bound else self._run(batch, name)
        except _RUN_ERRORS as error:
            raise ModelFailure(f"onnxruntime failed on a batch of {len(batch)}") from error

    def _run(self, batch: Sequence[Framed], output: str) -> NDArray[np.float32]:
        shape = len(batch), max(map(len, batch))
        inputs = {name: np.empty(shape, np.int64) for name in self._inputs}
        fill(batch, inputs, self._pad_id)
        [rows] = self._session.run([output], inputs)
        return np.asarray(rows, np.float32)

    def _run_bound(self, batch: Sequence[Framed], output: str) -> NDArray[np.float32]:
        # Buffers belong to a batch in flight: as many are made as ever run at once.
        try:
            binding = self._idle_bindings.pop()
        except IndexError:
            binding = Binding(self._session, self._device, inputs=self._inputs, pad_id=self._pad_id)
        try:
            return binding.run(batch, output, self._rows[output], self._run_options())
        finally:
            self._idle_bindings.append(binding)

    def _run_options(self) -> ort.RunOptions | None:
        """Return options by which a batch gives back the memory that earlier ones left, or None."""
        now = self._clock()
        if now < self._give_back_at:
            return None
        self._give_back_at = now + _GIVE_BACK_EVERY_S
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", self._device.allocator)
        return options


def _session_options(threads: int, device: Device) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the cores from tokenizing and from the other model.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if device.is_cuda:
        # Weights in the arena would keep its memory from being given back.
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        # A plan is kept for each shape, and a card's batches have a hundred thousand of them.
        options.enable_mem_pattern = False
    return options
