"""Make a float32 graph float16, for GPUs. Inputs and outputs stay what they are."""

import warnings

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with float16 weights and arithmetic.

    The mask's lowest float32 becomes float16's: added to a score it still leaves no probability.
    """
    with warnings.catch_warnings():
        # One warning for each weight below float16's smallest; the parity report counts them all.
        warnings.simplefilter("ignore")
        half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return half
