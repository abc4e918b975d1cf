"""Run a batch through buffers that stay: nothing is allocated on the device from batch to batch.

One host buffer and one device buffer hold all inputs, one after the other, and travel in one copy.
"""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from finesieve_server.runtime.batch import fill
from finesieve_server.runtime.device import Device
from finesieve_server.runtime.tokenizer import Framed

# A buffer holds a power of two of positions, so that a short batch does not copy a long one's.
_SMALLEST = 1 << 10


class Binding:
    """The buffers of one batch at a time. Whoever runs two batches at once takes two."""

    def __init__(
        self, session: ort.InferenceSession, device: Device, *, inputs: Sequence[str], pad_id: int
    ) -> None:
        self._session = session
        self._device = device
        self._inputs = inputs
        self._pad_id = pad_id
        self._binding = session.io_binding()
        self._buffers: dict[int, tuple[NDArray[np.int64], ort.OrtValue]] = {}

    def run(
        self,
        batch: Sequence[Framed],
        output: str,
        row: Sequence[int],
        options: ort.RunOptions | None = None,
    ) -> NDArray[np.float32]:
        """Return the output, (len(batch), *row), in memory of the caller's own."""
        shape = len(batch), max(map(len, batch))
        positions = shape[0] * shape[1]
        host, there = self._buffers_for(positions)
        inputs = host[: positions * len(self._inputs)].reshape(len(self._inputs), *shape)
        fill(batch, dict(zip(self._inputs, inputs, strict=True)), self._pad_id)
        there.update_inplace(host)
        for index, name in enumerate(self._inputs):
            start = there.data_ptr() + index * positions * host.itemsize
            self._binding.bind_input(
                name, self._device.kind, self._device.index, np.int64, shape, start
            )
        rows = np.empty((len(batch), *row), np.float32)
        self._binding.bind_output(output, "cpu", 0, np.float32, rows.shape, rows.ctypes.data)
        self._session.run_with_iobinding(self._binding, options)
        return rows

    def _buffers_for(self, positions: int) -> tuple[NDArray[np.int64], ort.OrtValue]:
        """Return a host and a device buffer with room for that many positions of each input."""
        room = max(_SMALLEST, 1 << (positions - 1).bit_length())
        if room not in self._buffers:
            host = np.zeros(room * len(self._inputs), np.int64)
            there = ort.OrtValue.ortvalue_from_shape_and_type(
                host.shape, np.int64, self._device.kind, self._device.index
            )
            self._buffers[room] = host, there
        return self._buffers[room]
